# Talking to the person who waits: what happens, why, how long it has taken.
# shellcheck shell=bash

# Where downloads and the log go. Everything in it can be deleted at any time.
SIGNET_CACHE=${SIGNET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/signet}
export SIGNET_CACHE
SETUP_LOG=$SIGNET_CACHE/setup.log

say() { printf '%s\n' "$*"; }

die() {
    printf '\n%s\n' "$*" >&2
    exit 1
}

# step NAME WHAT HAVE INSTALL [ARGS...]: does nothing when `HAVE ARGS` succeeds; otherwise says what is installed,
# runs `INSTALL ARGS` with its output in the log, and shows that it is alive.
step() {
    local name=$1 what=$2 have=$3 install=$4
    shift 4
    if "$have" "$@" >/dev/null 2>&1; then
        return
    fi
    require_system "$what"
    mkdir -p "$SIGNET_CACHE"
    say "==> $name: $what"
    local began=$SECONDS
    printf '\n==> %s\n' "$name" >>"$SETUP_LOG"
    "$install" "$@" >>"$SETUP_LOG" 2>&1 &
    if ! wait_for $! "$began"; then
        tail -n 25 "$SETUP_LOG" >&2
        die "setup: '$name' failed; its whole output is in $SETUP_LOG"
    fi
    if ! "$have" "$@" >/dev/null 2>&1; then
        tail -n 25 "$SETUP_LOG" >&2
        die "setup: '$name' ran, and what it installs is still missing; see $SETUP_LOG"
    fi
    say "    done in $((SECONDS - began)) s"
}

# Waits for a process; every second on a terminal, every half minute elsewhere, shows how long and its last line.
wait_for() {
    local pid=$1 began=$2 last status=0 shown=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.5
        if [ -t 1 ]; then
            last=$(tail -n 1 "$SETUP_LOG" | tr -d '\r' | cut -c1-90)
            printf '\r\033[K    %3d s  %s' "$((SECONDS - began))" "$last"
        elif [ $((SECONDS - began - shown)) -ge 30 ]; then
            shown=$((SECONDS - began))
            say "    $shown s ..."
        fi
    done
    [ -t 1 ] && printf '\r\033[K'
    wait "$pid" || status=$?
    return "$status"
}
