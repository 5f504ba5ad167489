#!/bin/sh
# Makes /opt/venv in an image from a lock: image_venv.sh LOCK. Run by the Dockerfile, with whatever pip the base image has.
set -eu
python=$(command -v python3) # before there is another in the environment, which is first on the PATH
# Wheels only, so no compiler is needed; without bytecode, whose default form holds the time of its source.
"$python" -m venv --without-pip /opt/venv
"$python" -m pip --python /opt/venv/bin/python install --quiet --disable-pip-version-check --root-user-action=ignore \
    --no-deps --no-compile --only-binary :all: --require-hashes --requirement "$1"
packages=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

# The tree is on the path as it is; the lock's build backend is for editable installs of a checkout.
rm -rf "$packages"/setuptools "$packages"/setuptools-*.dist-info "$packages"/_distutils_hack "$packages"/distutils-precedence.pth \
    "$packages"/pkg_resources /opt/venv/bin/activate* /opt/venv/bin/Activate.ps1
echo /app >"$packages/parallax.pth"
printf '#!/opt/venv/bin/python\nfrom parallax import main\n\nmain()\n' >/opt/venv/bin/parallax
chmod 0755 /opt/venv/bin/parallax

# Bytecode that is right for its source wherever it is copied: the file system of a container is read-only.
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$packages"
find /opt/venv -exec touch --no-dereference --date=@0 {} +
