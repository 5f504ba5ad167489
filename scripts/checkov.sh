#!/bin/sh
# Prints the path of checkov, after making an environment of its own in .tools from requirements/checkov.txt if need be.
set -eu
cd "$(dirname "$0")/.."
lock=requirements/checkov.txt
env=$PWD/.tools/checkov-$(cksum <"$lock" | cut -d ' ' -f 1)
if [ ! -e "$env/whole" ]; then
    echo "Making $env from $lock" >&2
    rm -rf "$env"
    mkdir -p .tools
    scripts/uv.sh venv --quiet --python "$(scripts/python.sh)" "$env" >&2
    scripts/uv.sh pip sync --quiet --python "$env/bin/python" --require-hashes "$lock" >&2
    touch "$env/whole"
fi
echo "$env/bin/checkov"
