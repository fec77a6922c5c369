# Debian packages.
# shellcheck shell=bash

BACKPORTS=bookworm-backports
GO_PACKAGE=golang-1.23-go

# apt_have PACKAGE...: whether all are installed.
apt_have() {
    local installed
    installed=$(dpkg-query -W -f '${db:Status-Abbrev}\n' "$@" 2>/dev/null | grep -c '^ii')
    [ "$installed" -eq $# ]
}

# Package lists are fetched at most once a run, and only when something has to be installed.
apt_lists() {
    local stamp=$SIGNET_CACHE/apt-lists
    if [ -e "$stamp" ] && [ -z "$(find "$stamp" -mmin +60)" ] && [ ! /etc/apt -nt "$stamp" ] &&
        [ ! /etc/apt/sources.list.d -nt "$stamp" ]; then
        return
    fi
    apt-get update
    touch "$stamp"
}

apt_install() {
    apt_lists
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# apt_targets: "URI suite" of every suite that this machine is configured for.
apt_targets() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages'
}

backports_have() { apt_targets | grep -q " $BACKPORTS main\$"; }

# The mirror is the one that this machine already takes Debian 12 from.
backports_add() {
    local uri
    uri=$(apt_targets | awk '$2 == "bookworm" && $3 == "main" { print $1; exit }')
    if [ -z "$uri" ]; then
        say "this machine's apt sources have no suite 'bookworm' to take $BACKPORTS from"
        return 1
    fi
    cat >"/etc/apt/sources.list.d/$BACKPORTS.sources" <<SOURCES
Types: deb
URIs: $uri
Suites: $BACKPORTS
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    apt-get update
}

qemu_have() {
    local major
    major=$(qemu-system-x86_64 --version | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
    [ "${major:-0}" -ge 8 ]
}

qemu_install() { apt_install -t "$BACKPORTS" qemu-system-x86; }

# Go 1.21 and newer fetch the toolchain that a module asks for; Debian 12's own 1.19 does not.
go_have() {
    local go minor
    for go in $(command -v go) /usr/lib/go-1.23/bin/go; do
        [ -x "$go" ] || continue
        minor=$("$go" env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
        [ "${minor:-0}" -ge 21 ] && return 0
    done
    return 1
}

go_install() { apt_install -t "$BACKPORTS" "$GO_PACKAGE"; }
