"""Images built without an engine (buildah), and containers of them as strict as Kubernetes runs them (runc).

The base image is a stand-in, unless Debian is what it is anyway: registries of images may be out of reach, and Debian's archive
has the same Python of the same release. So the Dockerfile is tested, and the real base is not.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.workspace import CHECKOUT
from tests.support.server import Server

PROGRAMS = ("buildah", "debootstrap", "runc")

BASE = "localhost/parallax-test-base"
BASE_PACKAGES = "ca-certificates,libpython3.11,python3,python3-pip,python3-venv"

STORE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parallax" / "containers"
"""Kept between runs: the base takes a minute, and layers whose files did not change are used again."""

MAX_KEPT = 150
"""Images in the store, one for each step of a build, before those of earlier builds go."""

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def missing() -> str:
    """Why no image can be built here; empty if one can."""
    if os.geteuid() != 0:
        return "building an image in a chroot takes root"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


@dataclass(frozen=True)
class Image:
    """An image in the store, mounted at `root`."""

    name: str
    root: Path
    config: Mapping[str, Any]
    """As Docker's format has it: User, Env, Entrypoint, Healthcheck, ..."""

    @property
    def env(self) -> dict[str, str]:
        """Its variables."""
        return dict(entry.split("=", 1) for entry in self.config["Env"])

    @contextmanager
    def running(self, folder: Path, **env: str) -> Iterator["Container"]:
        """Run it: its own user and command, a read-only root, no capabilities, /data and /tmp to write to.

        It has the host's network, so it is told a free port; `folder` becomes /data.
        """
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, *map(int, self.config["User"].split(":")))
        bundle = Path(tempfile.mkdtemp(prefix="parallax-container-"))
        (bundle / "config.json").write_text(json.dumps(_runtime(self, folder, self.env | env)))
        name = f"parallax-{uuid.uuid4().hex}"
        command = ["runc", "--root", str(bundle / "state"), "run", "--bundle", str(bundle), name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        container = Container(Server(process), bundle, name)
        try:
            yield container
        finally:
            subprocess.run(["runc", "--root", bundle / "state", "kill", name, "KILL"], capture_output=True, check=False)
            container.server.wait()
            subprocess.run(["runc", "--root", bundle / "state", "delete", "--force", name], capture_output=True, check=False)
            shutil.rmtree(bundle, ignore_errors=True)


@dataclass(frozen=True)
class Container:
    """A running container; `server` sees its log, and passes signals on to its first process."""

    server: Server
    bundle: Path
    name: str

    def execute(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run something in it, as its own user."""
        words = ["runc", "--root", str(self.bundle / "state"), "exec", self.name, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of its first process so far."""
        state = subprocess.run(
            ["runc", "--root", self.bundle / "state", "state", self.name], capture_output=True, text=True, check=True
        )
        fields = Path(f"/proc/{json.loads(state.stdout)['pid']}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def built(target: str, *, name: str, cached: bool = True) -> Iterator[Image]:
    """Build a stage of the Dockerfile from the files that git knows, as a clean clone has them."""
    _base()
    with tempfile.TemporaryDirectory(prefix="parallax-context-") as folder:
        context = Path(folder)
        files = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, check=True
        )
        for file in filter(None, files.stdout.decode().split("\0")):
            if (CHECKOUT / file).is_file():
                (context / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(CHECKOUT / file, context / file)
        settings = context.with_suffix(".pip.conf")
        settings.write_text(_pip_settings())
        certificates = ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.exists() else []
        try:
            buildah(
                "build-using-dockerfile", "--quiet", "--pull-never", "--format", "docker", "--timestamp", "0",
                "--layers", *([] if cached else ["--no-cache"]), "--build-arg", f"PYTHON_IMAGE={BASE}",
                "--secret", f"id=pipconf,src={settings}", *certificates, "--target", target, "--tag", name, str(context),
            )  # fmt: skip
        finally:
            settings.unlink()
    container = buildah("from", "--pull-never", name)
    try:
        root = Path(buildah("mount", container))
        config = json.loads(buildah("inspect", "--type", "image", name))["Docker"]["config"]
        yield Image(name, root, config)
    finally:
        buildah("rm", container)


def buildah(*words: str) -> str:
    """What buildah answers."""
    env = os.environ | {"STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}
    command = ["buildah", "--root", str(STORE / "storage"), "--runroot", "/run/parallax-containers", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"buildah {' '.join(words)}:\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def layers(name: str) -> Sequence[str]:
    """The digests of an image's layers, unpacked."""
    found: list[str] = json.loads(buildah("inspect", "--type", "image", name))["Docker"]["rootfs"]["diff_ids"]
    return found


def _base() -> None:
    STORE.mkdir(parents=True, exist_ok=True)
    kept = json.loads(buildah("images", "--all", "--json") or "[]")
    if len(kept) > MAX_KEPT:
        buildah("rmi", "--prune")  # those without a name: layers of builds before
    if BASE in json.dumps(kept):
        return
    with tempfile.TemporaryDirectory(prefix="parallax-base-", dir=STORE) as folder:
        command = ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", folder]
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        for waste in ("var/cache/apt", "var/lib/apt/lists"):
            shutil.rmtree(Path(folder) / waste)
        container = buildah("from", "scratch")
        subprocess.run(["cp", "-a", f"{folder}/.", buildah("mount", container)], check=True)
        buildah("commit", "--quiet", "--rm", container, BASE)


def _pip_settings() -> str:
    """What pip here was told about the network, for the build; files of this machine aside."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    given = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    known = {name.rpartition(".")[2]: value.strip("'\"") for name, value in given.items()}
    known |= {
        name.removeprefix("PIP_").lower().replace("_", "-"): value for name, value in os.environ.items() if name[:4] == "PIP_"
    }
    lines = [f"{name} = {known[name]}" for name in ("index-url", "timeout", "default-timeout", "trusted-host") if name in known]
    if CERTIFICATES.exists():
        lines.append(f"cert = {CERTIFICATES}")
    return "\n".join(["[global]", *lines, ""])


def _runtime(image: Image, data: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """A configuration of the OCI runtime specification (1.0.2)."""
    user, group = map(int, image.config["User"].split(":"))
    scratch = ["nosuid", "nodev", "mode=1777"]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(image.root), "readonly": True},
        "process": {
            "user": {"uid": user, "gid": group},
            "args": [*image.config["Entrypoint"], *image.config["Cmd"]],
            "env": [f"{name}={value}" for name, value in env.items()],
            "cwd": image.config["WorkingDir"],
            "noNewPrivileges": True,
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*scratch, "noexec"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": scratch},
            {"destination": "/data", "type": "bind", "source": str(data), "options": ["bind", "rw", "nosuid", "nodev"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")], "readonlyPaths": ["/proc/sys"]},
    }
