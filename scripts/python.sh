#!/bin/sh
# Prints the path of a Python that Parallax runs on: $PYTHON, or else the newest 3.11, 3.12 or 3.13 on the PATH that works.
set -eu

# Run, not just looked for: a version manager's shim is there even for versions that are not, and a Python that was built without
# some system library lacks the modules that need it.
probe='
import ctypes, sqlite3, ssl, sys
sys.exit(print(sys.executable) if (3, 11) <= sys.version_info < (3, 14) else 1)'

if [ -n "${PYTHON:-}" ]; then
    "$PYTHON" -c "$probe" 2>/dev/null && exit
    echo "PYTHON=$PYTHON is no working Python 3.11, 3.12 or 3.13" >&2
    exit 1
fi
IFS=:
for name in python3.13 python3.12 python3.11 python3 python; do
    for folder in $PATH; do
        [ -x "$folder/$name" ] && "$folder/$name" -c "$probe" 2>/dev/null && exit
    done
done
echo "No working Python 3.11, 3.12 or 3.13 on the PATH: install one, or name it with PYTHON=/path/to/python" >&2
exit 1
