"""Wrong values are refused before anything is sent, by both Helms, in words that say what to do."""

from typing import Any

import pytest

from tests.helm.cases import CASES, POSTGRESQL
from tests.support.charts import MAJORS, call

ROUTE: dict[str, Any] = {"kind": "httproute", "hosts": ["a.example.com"], "httproute": {"gateway": "g"}}

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "two replicas on SQLite": ({"replicaCount": 2}, "needs database.kind=postgresql"),
    "autoscaling on SQLite": ({"autoscaling": {"kind": "hpa"}}, "needs database.kind=postgresql"),
    "SQLite without a volume": ({"persistence": {"enabled": False}}, "SQLite needs persistence.enabled=true"),
    "replicas on one disk": (
        {"replicaCount": 2, **POSTGRESQL, "persistence": {"accessMode": "ReadWriteOnce"}},
        "persistence.accessMode=ReadWriteMany",
    ),
    "PostgreSQL without its address": (
        {"database": {"kind": "postgresql"}, "networkPolicy": {"database": {"cidrs": ["10.0.0.0/8"]}}},
        "database.existingSecret or keyVault.secrets.databaseUrl",
    ),
    "a database that the policy shuts out": (
        {"database": {"kind": "postgresql", "existingSecret": "database"}},
        "networkPolicy.database.cidrs or podLabels",
    ),
    "HPA with KEDA": ({**POSTGRESQL, "autoscaling": {"kind": "hpa,keda"}}, "autoscaling"),
    "KEDA without a trigger": (
        {**POSTGRESQL, "autoscaling": {"kind": "keda", "keda": {"scoringsPerReplica": 0}}},
        "autoscaling.keda.prometheus or scoringsPerReplica",
    ),
    "fewer at most than at least": (
        {**POSTGRESQL, "autoscaling": {"kind": "hpa", "minReplicas": 9}},
        "more than autoscaling.maxReplicas",
    ),
    "a GPU without its image": ({"gpu": {"enabled": True}}, "needs image.variant=gpu"),
    "the GPU's image without one": ({"image": {"variant": "gpu"}}, "needs gpu.enabled=true"),
    "a route without keys": ({"route": ROUTE, "apiKeys": {"anonymous": True}}, "a route needs keys"),
    "a load balancer without keys": (
        {"service": {"type": "LoadBalancer"}, "apiKeys": {"anonymous": True}},
        "a LoadBalancer needs keys",
    ),
    "a route to no name": ({"route": {**ROUTE, "hosts": []}}, "route.hosts must name at least one host"),
    "a route on no gateway": ({"route": {**ROUTE, "httproute": {}}}, "route.httproute.gateway, or createOfClass"),
    "a route that gives up first": ({"route": {**ROUTE, "timeoutSeconds": 10}}, "less than settings.deadline_ms"),
    "models on no volume": ({"models": {"kind": "pvc"}}, "needs models.pvc.existingClaim"),
    "models from nowhere": ({"models": {"kind": "blob"}}, "needs models.blob.url"),
    "blobs over http": ({"models": {"kind": "blob", "blob": {"url": "http://a/models"}}}, "url"),
    "a vault without a name": ({"keyVault": {"enabled": True}}, "keyVault.name, keyVault.tenantId and workloadIdentity.clientId"),
    "Custom Vision without its key": (
        {"settings": {"custom_vision__endpoint": "https://x"}},
        "customVision.existingSecret or keyVault.secrets.customVisionKey",
    ),
    "Azure ML without its key": ({"settings": {"azure_ml__endpoint": "https://x/score"}}, "azureML.existingSecret"),
    "a sweep over nothing": ({"sweep": {"enabled": True}}, "sweep.study, sweep.data, sweep.existingSecret and sweep.storeClaim"),
    "a sweep that the policy shuts out": (
        {"sweep": {**CASES["sweep"][1]["sweep"]}},
        "let the sweep out to its database",
    ),
    "a misspelt value": ({"replicas": 2}, "replicas"),
    "a misspelt setting": ({"settings": {"max_qeue": 9}}, "max_qeue"),
    "a setting that the chart makes": ({"settings": {"port": 9000}}, "port"),
    "a secret among the settings": ({"settings": {"api_keys": "me:0123456789abcdef"}}, "api_keys"),
    "a setting out of range": ({"settings": {"max_queue": 0}}, "max_queue"),
    "a setting of the wrong kind": ({"settings": {"tune": "maybe"}}, "tune"),
    "a bad quantity": ({"resources": {"limits": {"cpu": "250mm"}}}, "cpu"),
    "half a replica": ({"replicaCount": 0}, "replicaCount"),
    "a digest that is none": ({"image": {"digest": "latest"}}, "digest"),
}


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("name", WRONG)
def test_it_is_refused_and_the_reason_is_told(name: str, major: str) -> None:
    values, reason = WRONG[name]
    done = call(major, "template", values)
    assert done.returncode != 0, f"it rendered {name}"
    assert reason in done.stderr.replace("\\'", "'")
    assert done.stdout == ""


def test_lint_refuses_it_too() -> None:
    values, reason = WRONG["two replicas on SQLite"]
    done = call("4", "lint", values)
    assert done.returncode != 0
    assert reason in done.stdout + done.stderr
