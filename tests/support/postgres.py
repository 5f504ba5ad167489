"""A PostgreSQL of one's own, in a temporary folder, for as long as a block lasts."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "s3cret"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian keeps off the PATH; None if PostgreSQL isn't installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "pg_ctl").exists()), None)


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Start a server, whose programs are in `folder`. Yields the address of an empty database, with its password."""
    root = Path(tempfile.mkdtemp(prefix="parallax-postgres-"))  # not pytest's folder, which only its owner may enter
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(root, user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def call(*command: str | Path) -> None:
        log = root.parent / f"{root.name}.log"
        with log.open("ab") as output:
            done = subprocess.run(command, stdout=output, stderr=output, user=user, cwd="/", check=False)
        assert done.returncode == 0, log.read_text()
        log.unlink()

    password = root / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    data = root / "data"
    try:
        call(folder / "initdb", "-D", data, "-U", "sweeper", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -c fsync=off -c unix_socket_directories="
        call(folder / "pg_ctl", "-D", data, "-w", "-l", root / "log", "-o", options, "start")
        try:
            yield f"postgresql://sweeper:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            call(folder / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(root, ignore_errors=True)
