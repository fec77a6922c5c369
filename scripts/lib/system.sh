# Which machines the set-up knows.
# shellcheck shell=bash

# require_system WHAT: ends with a clear message unless this is Debian 12 and we are root.
require_system() {
    local id='' version=''
    if [ -r /etc/os-release ]; then
        id=$(. /etc/os-release && printf '%s' "${ID:-}")
        version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")
    fi
    if [ "$id" != debian ] || [ "$version" != 12 ]; then
        die "$(needs "$1" "This set-up knows Debian 12; this machine says '${id:-unknown} ${version:-}'.")"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        die "$(needs "$1" "Installing it needs root: run the same command as root, or with sudo.")"
    fi
    if [ "$(uname -m)" != x86_64 ]; then
        die "$(needs "$1" "This set-up knows x86_64; this machine is $(uname -m).")"
    fi
}

needs() {
    cat <<TEXT
setup: missing: $1.
$2

Signet needs
  to build   Rust $RUST_VERSION or newer and a C compiler;
             for the kernel programs: a rustc that has \`core\` for bpfel-unknown-none (Debian 12: rustc-web, cargo-web,
             libstd-rust-web-dev-bpf) or a nightly with rust-src, and bpf-linker $BPF_LINKER_VERSION with the LLVM of that rustc
  to run     Linux 6.6 or newer with BTF, root, iproute2
  to show    tcpdump, iperf3, socat, netcat-openbsd, ping, wireguard-tools (the demo and the tests call them)
  to lint    clippy, rustfmt, cargo-deny $CARGO_DENY_VERSION
  to test    QEMU 8 or newer, cpio, kmod, xz, Debian's linux-image-cloud-amd64 6.12 unpacked, Go 1.21 or newer, python3-venv,
             Envoy $ENVOY_VERSION as $SIGNET_CACHE/envoy/envoy
A step whose tools are already there is skipped on any system, so you can also install these yourself and go on.
TEXT
}

bpffs_have() { [ "$(stat -f -c %T /sys/fs/bpf)" = bpf_fs ]; }
bpffs_mount() { mount -t bpf bpf /sys/fs/bpf; }
