"""Helm 3 and Helm 4, and what they make of the chart, as parsed YAML."""

import functools
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import yaml

from models.workspace import CHECKOUT

CHART = CHECKOUT / "helm" / "parallax"
MAJORS = ("3", "4")

Values: TypeAlias = Mapping[str, Any]
Thing: TypeAlias = dict[str, Any]


@functools.cache
def helm(major: str) -> str | None:
    """The program of this major version on the PATH, else what `scripts/kube_tools.sh` fetched; None if neither is there."""
    fetched = sorted(CHECKOUT.glob(f".tools/kubernetes-*/helm{major}"))
    for program in filter(None, (shutil.which("helm"), *map(str, fetched))):
        shown = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False).stdout
        if re.match(rf"v{major}\.", shown):
            return program
    return None


def call(major: str, command: str, values: Values | None = None, *files: str) -> "subprocess.CompletedProcess[str]":
    """Run `helm lint --strict` or `helm template` on the chart with these files of its folder, then these values."""
    program = helm(major)
    assert program
    words = {"lint": ["lint", "--strict"], "template": ["template", "demo", "--namespace", "shop"]}[command]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as own:
        json.dump(values or {}, own)
        own.flush()
        given = [word for file in (*(str(CHART / name) for name in files), own.name) for word in ("--values", file)]
        return subprocess.run([program, *words, *given, str(CHART)], capture_output=True, text=True, check=False)


class Rendered(list[Thing]):
    """The objects of a release."""

    def of(self, kind: str) -> list[Thing]:
        """All of a kind."""
        return [thing for thing in self if thing["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> Thing:
        """The only one of a kind whose name ends so."""
        (found,) = [thing for thing in self.of(kind) if thing["metadata"]["name"].endswith(suffix)]
        return found

    @property
    def pod(self) -> Thing:
        """What the Deployment's pods are."""
        found: Thing = self.one("Deployment")["spec"]["template"]["spec"]
        return found

    @property
    def container(self) -> Thing:
        """The service."""
        (found,) = self.pod["containers"]
        assert isinstance(found, dict)
        return found

    @property
    def env(self) -> dict[str, str]:
        """The service's plain variables."""
        found: dict[str, str] = self.one("ConfigMap", "parallax")["data"]
        return found

    def pods(self) -> Iterator[tuple[str, Thing]]:
        """Every pod's specification, with what it is of."""
        for thing in self:
            if thing["kind"] == "Pod":
                yield thing["metadata"]["name"], thing["spec"]
            elif thing["kind"] in {"Deployment", "Job"}:
                yield thing["metadata"]["name"], thing["spec"]["template"]["spec"]


def parse(text: str) -> Rendered:
    """The objects of a stream of YAML."""
    return Rendered(thing for thing in yaml.safe_load_all(text) if thing)


def render(values: Values | None = None, *files: str, major: str = "4") -> Rendered:
    """What would be sent to a cluster."""
    done = call(major, "template", values, *files)
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def peers(rule: Thing) -> Sequence[str]:
    """The address ranges that a rule of a NetworkPolicy opens."""
    return [peer["ipBlock"]["cidr"] for peer in rule.get("to", []) if "ipBlock" in peer]
