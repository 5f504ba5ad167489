"""Every case renders, in both Helms alike, to objects that Kubernetes takes."""

import importlib
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.helm.cases import CASES
from tests.support.charts import CHART, MAJORS, Rendered, Thing, call, render

KUBERNETES = ("1.30", "1.33", "1.37")

CUSTOM = {
    "CiliumNetworkPolicy": "",
    "Gateway": "",
    "HTTPRoute": "",
    "PrometheusRule": "cloudcoil.models.prometheus_operator.v1",
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
    "SecretProviderClass": "",
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
    "TriggerAuthentication": "cloudcoil.models.keda.v1alpha1",
}
"""Kinds that are no part of Kubernetes, with a module that knows their fields."""


def without_chance(found: Rendered) -> list[Thing]:
    for secret in found.of("Secret"):
        secret["data"] = sorted(secret["data"])
    return sorted(found, key=lambda thing: (thing["kind"], thing["metadata"]["name"]))


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Rendered:
    files, values = CASES[request.param]
    return render(values, *files)


@pytest.mark.parametrize("name", CASES)
def test_both_helms_make_the_same_of_it(name: str) -> None:
    files, values = CASES[name]
    made = [render(values, *files, major=major) for major in MAJORS]
    assert without_chance(made[0]) == without_chance(made[1])


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("name", ["defaults", "aks cpu", "aks gpu"])
def test_it_lints(name: str, major: str) -> None:
    files, values = CASES[name]
    done = call(major, "lint", values, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_it(case: Rendered, version: str) -> None:
    unknown = set()
    for thing in case:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(thing["kind"])
    assert unknown <= set(CUSTOM)


def test_the_operators_take_their_kinds(case: Rendered) -> None:
    for thing in case:
        module = CUSTOM.get(thing["kind"])
        if module:
            getattr(importlib.import_module(module), thing["kind"]).model_validate(thing)


def test_names_are_given_once_and_in_the_release_s_namespace(case: Rendered) -> None:
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in case]
    assert len(names) == len(set(names))
    assert {thing["metadata"]["namespace"] for thing in case} == {"shop"}
    assert all(len(name) <= 63 for _, name in names)
    for thing in case:
        labels = thing["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "demo"
        assert labels["app.kubernetes.io/name"] == "parallax"


def test_pods_are_restricted(case: Rendered) -> None:
    """Pod Security Standards, level restricted, and a root file system that is read-only."""
    for name, pod in case.pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
        assert {kind for volume in pod.get("volumes", []) for kind in volume if kind != "name"} <= {
            "configMap", "csi", "emptyDir", "persistentVolumeClaim", "secret",
        }  # fmt: skip


def test_mounts_have_their_volumes_and_volumes_a_use(case: Rendered) -> None:
    for name, pod in case.pods():
        mounted = {
            mount["name"]
            for container in [*pod["containers"], *pod.get("initContainers", [])]
            for mount in container.get("volumeMounts", [])
        }
        assert mounted == {volume["name"] for volume in pod.get("volumes", [])}, name


def test_what_selects_pods_finds_them(case: Rendered) -> None:
    labels = case.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors: list[dict[str, Any]] = [case.one("Deployment")["spec"]["selector"]["matchLabels"]]
    services, policies = (
        [one for one in case.of(kind) if not one["metadata"]["name"].endswith("-loadtest")]  # whose pods are others
        for kind in ("Service", "NetworkPolicy")
    )
    selectors += [service["spec"]["selector"] for service in services]
    selectors += [budget["spec"]["selector"]["matchLabels"] for budget in case.of("PodDisruptionBudget")]
    selectors += [policy["spec"]["podSelector"]["matchLabels"] for policy in policies]
    selectors += [spread["labelSelector"]["matchLabels"] for spread in case.pod["topologySpreadConstraints"]]
    assert all(selector.items() <= labels.items() for selector in selectors)
    ports = {port["name"]: port["containerPort"] for port in case.container["ports"]}
    assert ports == {"http": int(case.env["PARALLAX_PORT"]), "metrics": int(case.env["PARALLAX_METRICS_PORT"])}
    for service in services:
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= set(ports)


def test_secrets_and_volumes_are_the_chart_s_or_were_named(case: Rendered) -> None:
    made = {secret["metadata"]["name"] for secret in case.of("Secret")}
    made |= {one["secretName"] for vault in case.of("SecretProviderClass") for one in vault["spec"]["secretObjects"]}
    named = {"database", "keys", "cv", "aml", "collector", "study"}
    for name, pod in case.pods():
        for volume in pod.get("volumes", []):
            if "secret" in volume:
                assert volume["secret"]["secretName"] in made | named, name
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in {"reports", "sets", "state", "store"} | {
                one["metadata"]["name"] for one in case.of("PersistentVolumeClaim")
            }
        for container in pod["containers"]:
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                assert reference is None or reference["name"] in made | named, name


def test_the_chart_is_packaged_as_it_stands() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["kubeVersion"] == ">=1.30.0-0"
