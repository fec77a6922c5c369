# The test VM's kernel: Debian's cloud kernel from backports, unpacked under the cache, never installed.
# shellcheck shell=bash

KERNEL_META=linux-image-cloud-amd64

kernel_have() {
    local dir=$SIGNET_CACHE/vm/kernel
    [ -s "$dir/vmlinuz" ] && [ -s "$dir/release" ] && [ -d "$dir/lib/modules" ]
}

kernel_fetch() {
    local package work release dir
    apt_lists
    package=$(apt-cache depends "$KERNEL_META/$BACKPORTS" | awk '$1 == "Depends:" { print $2; exit }')
    [ -n "$package" ] || { say "no $KERNEL_META in $BACKPORTS"; return 1; }
    dir=$SIGNET_CACHE/vm/$package
    work=$dir.unpacking
    rm -rf "$work"
    mkdir -p "$work/download" "$work/image"
    (cd "$work/download" && apt-get -o APT::Sandbox::User=root download "$package")
    dpkg -x "$work"/download/*.deb "$work/image"
    release=$(basename "$work"/image/boot/vmlinuz-* | sed 's/^vmlinuz-//')
    mv "$work/image/boot/vmlinuz-$release" "$work/vmlinuz"
    mkdir "$work/lib"
    if [ -d "$work/image/usr/lib/modules" ]; then
        mv "$work/image/usr/lib/modules" "$work/lib/modules"
    else
        mv "$work/image/lib/modules" "$work/lib/modules"
    fi
    depmod -b "$work" "$release"
    printf '%s\n' "$release" >"$work/release"
    rm -rf "$work/download" "$work/image" "$dir"
    mv "$work" "$dir"
    ln -sfn "$package" "$SIGNET_CACHE/vm/kernel"
}
