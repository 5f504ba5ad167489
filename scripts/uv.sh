#!/bin/sh
# Runs uv: the one on the PATH, or else one of the project's own in .tools, which pip fetches when it is first needed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
own=$root/.tools/uv

# What pip was told about the network holds for uv too.
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
[ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"
[ -z "${PIP_DEFAULT_TIMEOUT:-}" ] || export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-$PIP_DEFAULT_TIMEOUT}"

if uv --version >/dev/null 2>&1; then
    exec uv "$@"
fi
if "$own/bin/uv" --version >/dev/null 2>&1; then
    exec "$own/bin/uv" "$@"
fi

# --target: Debian's Python refuses to install into itself, and without ensurepip it can't make an environment either.
# Into a folder of its own, which is renamed once it is whole: two targets of make may be at this at the same time.
fetch() {
    "$@" --version >/dev/null 2>&1 || return 1
    echo "Fetching uv into .tools" >&2
    mkdir -p "$root/.tools"
    part=$(mktemp -d "$root/.tools/uv-XXXXXX")
    trap 'rm -rf "$part"' EXIT
    trap 'exit 130' INT TERM
    "$@" install --quiet --disable-pip-version-check --root-user-action=ignore \
        --require-hashes --requirement "$root/requirements/uv.txt" --target "$part/uv" >&2 || { rm -rf "$part"; return 1; }
    if ! "$own/bin/uv" --version >/dev/null 2>&1; then # nobody else was faster
        [ ! -e "$own" ] || mv "$own" "$part/broken"
        mv "$part/uv" "$own"
    fi
    rm -rf "$part" # here as well, since exec runs no trap
}
python=$("$root/scripts/python.sh")
if fetch "$python" -m pip || fetch python3 -m pip || fetch pip; then
    exec "$own/bin/uv" "$@"
fi
echo "uv is neither on the PATH nor to be had by pip: install one of them (Debian: apt-get install python3-pip)" >&2
exit 1
