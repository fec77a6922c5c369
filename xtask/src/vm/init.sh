#!/bin/bash
# The guest's first process: makes an ordinary Linux of the bare kernel, runs /signet/run, says how it ended, powers off.
export PATH=/signet/bin:/usr/bin HOME=/root TERM=dumb RUST_BACKTRACE=1
# Tests that wait wait fifteen times longer here; WireGuard must be the kernel's.
export SIGNET_E2E_SLOW=15 SIGNET_WG=kernel

finish() {
    # The host takes the run for finished only when it has read this line.
    printf '\n@@signet-vm exit=%s@@\n' "$1"
    echo o >/proc/sysrq-trigger
    sleep 60
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd

for module in /modules/*.ko; do
    insmod "$module" || { echo "vm: $module cannot be loaded"; finish 125; }
done
ip link set lo up

echo "vm: up after $(cut -d' ' -f1 /proc/uptime) s"
cd /root || finish 125
bash /signet/run </dev/null
status=$?
# What the kernel complained about helps only where something failed.
[ "$status" -eq 0 ] || dmesg --level=emerg,alert,crit,err,warn | tail -n 40
finish "$status"
