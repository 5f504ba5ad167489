#!/bin/sh
# Prints the Python of a role's environment, after making the environment or bringing it up to date if need be.
#   env.sh serve-cpu | serve-gpu | train | dev
#   EXTRAS="kaggle"   further locks to install; once installed they stay, until EXTRAS names others or is set to nothing
#   PYTHON=...        the interpreter to build on; if it already has all that the role needs, it is used as it is
set -eu
cd "$(dirname "$0")/.."
. scripts/roles.sh

role=${1:-}
extras=$(extras_of "$role")
case $role in
    serve-cpu) env=.venv ;;
    *) env=.venv-${role#serve-} ;;
esac

lacking=
if [ -n "${PYTHON:-}" ]; then
    PYTHON=$(scripts/python.sh)
    # shellcheck disable=SC2086  # extras are words
    lacking=$("$PYTHON" scripts/installed.py $extras) || lacking=${lacking:-"$PYTHON can't say what it has"}
    [ "$lacking" ] || { echo "$PYTHON"; exit; }
fi

# The stamp says what the environment was made for. It is written last, so an interrupted run is seen and begun again.
stamp=$env/parallax.stamp
found=$(cat "$stamp" 2>/dev/null || true)
locks=requirements/$role.txt
if [ -n "${EXTRAS+set}" ]; then
    for extra in $EXTRAS; do
        [ -f "requirements/$extra.txt" ] || { echo "EXTRAS=$extra: there is no requirements/$extra.txt" >&2; exit 2; }
        locks="$locks requirements/$extra.txt"
    done
else
    locks=$(echo "$found" | sed -n '2s/^locks: //p')
    locks=${locks:-requirements/$role.txt}
fi
# cksum, because macOS has no sha256sum.
# shellcheck disable=SC2086  # locks are words
wanted="checkout: $PWD
locks: $locks
sum: $(cat pyproject.toml $locks | cksum)"

if [ -e "$env" ] && [ ! -e "$stamp" ]; then
    echo "$PWD/$env was not made by this Makefile: move it away, or remove it" >&2
    exit 1
fi
version() { "$1" -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null; }
if [ -e "$env" ]; then
    sound=yes
    [ "$(echo "$found" | head -n 1)" = "checkout: $PWD" ] || sound=       # unfinished, or its scripts point elsewhere
    [ -n "$(version "$env/bin/python")" ] || sound=                       # the Python it was built on is gone
    [ -z "${PYTHON:-}" ] || [ "$(version "$PYTHON")" = "$(version "$env/bin/python")" ] || sound=
    if [ "$sound" ] && [ "$found" = "$wanted" ]; then
        echo "$PWD/$env/bin/python"
        exit
    fi
    [ "$sound" ] || rm -rf "$env"
fi

base=$(scripts/python.sh)
echo "${lacking:+$lacking. }Making $env from $locks" >&2
quiet=--quiet
[ ! -t 2 ] || quiet= # a person sees uv's progress
mkdir -p "$env"
echo unfinished >"$stamp"
[ -e "$env/bin/python" ] || scripts/uv.sh venv --quiet --allow-existing --python "$base" "$env" >&2
# shellcheck disable=SC2086  # locks and quiet are words
{
    scripts/uv.sh pip sync $quiet --python "$env/bin/python" --require-hashes $locks
    scripts/uv.sh pip install $quiet --python "$env/bin/python" --no-deps --no-build-isolation --editable .
} >&2
echo "$wanted" >"$stamp"
echo "$PWD/$env/bin/python"
