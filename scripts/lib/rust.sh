# Rust and the cargo tools. Cargo puts binaries into ~/.cargo/bin, wherever cargo itself comes from.
# shellcheck shell=bash

RUST_VERSION=1.95.0
BPF_LINKER_VERSION=0.13.0
CARGO_DENY_VERSION=0.20.2
LLVM=/usr/lib/llvm-22

PATH=$("$here/toolchain"):$PATH

rustup_has() { rustup toolchain list 2>/dev/null | grep -q "^$RUST_VERSION-"; }

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_have() {
    rustup_has && return
    # Without rustup, or with one that cannot give the version: what Debian offers (1.96 from the security suite).
    # With a rustup that lacks it, try the download first.
    ! rustup --version >/dev/null 2>&1 || [ -e "$SIGNET_CACHE/rustup-declined" ] || return 1
    version_at_least "$(/usr/bin/rustc --version | cut -d' ' -f2)" "$RUST_VERSION"
}

rust_install() {
    if rustup --version; then
        rustup toolchain install "$RUST_VERSION" --profile minimal -c clippy -c rustfmt && return
        say "rustup cannot give Rust $RUST_VERSION; taking Debian's"
        touch "$SIGNET_CACHE/rustup-declined"
    fi
    apt_install rustc-web cargo-web
}

lints_have() {
    if rustup_has; then
        rustup component list --toolchain "$RUST_VERSION" --installed | grep -q ^clippy &&
            rustup component list --toolchain "$RUST_VERSION" --installed | grep -q ^rustfmt
    else
        [ -x /usr/bin/cargo-clippy ] && [ -x /usr/bin/cargo-fmt ]
    fi
}

lints_install() {
    if rustup_has; then
        rustup component add --toolchain "$RUST_VERSION" clippy rustfmt
    else
        apt_install rust-web-clippy rustfmt-web
    fi
}

bpf_linker_have() { bpf-linker --version | grep -q " $BPF_LINKER_VERSION\$"; }

# Linked against the LLVM that Debian's rustc-web has, so that it reads what that compiler writes.
bpf_linker_install() {
    LLVM_PREFIX=$LLVM cargo install bpf-linker --version "$BPF_LINKER_VERSION" --locked --force \
        --no-default-features --features llvm-22
}

cargo_deny_have() { cargo-deny --version | grep -q " $CARGO_DENY_VERSION\$"; }

# Unoptimised and without what it needs to fetch advisories over HTTP by itself: a minute instead of five.
cargo_deny_install() {
    cargo install cargo-deny --version "$CARGO_DENY_VERSION" --locked --force --debug --no-default-features
}
