"""Does the Python that runs this have what a role needs? `python scripts/installed.py EXTRA...` says what it lacks."""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lacking(extras: list[str]) -> list[str]:
    """What pyproject.toml asks for and is missing or too old; the parts of a package (`[cuda]`) are left to the machine."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ["packaging"]  # ONNX Runtime needs it, so whoever lacks it lacks more
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [line for line in asked if not _is_met(Requirement(line))]


def _is_met(requirement: "Requirement") -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    if missing := lacking(sys.argv[1:]):
        print(f"{sys.executable} lacks {', '.join(missing)}")
        sys.exit(1)
