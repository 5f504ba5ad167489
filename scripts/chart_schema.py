"""The JSON schema of the chart's values: types from values.yaml, settings from `service/settings.py`, and rules between values.

A rule's message is the name of a property that nobody has: both Helms then say that it is missing. A schema knows no other way to
say a sentence.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from service.settings import Settings

Schema: TypeAlias = dict[str, Any]

OWNED = frozenset(
    {
        "allow_anonymous",
        "api_keys_file",
        "cpus",
        "data_dir",
        "datasets_dir",
        "device",
        "grace_s",
        "host",
        "metrics_port",
        "models_dir",
        "port",
    }
)
"""Settings that the chart makes out of other values. Secrets are none of `settings` either: they come from Secrets."""

QUANTITY: Schema = {"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
RESOURCES: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {kind: {"type": "object", "additionalProperties": QUANTITY} for kind in ("requests", "limits")},
}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
NATURAL: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
STRINGS: Schema = {"type": "array", "items": {"type": "string", "minLength": 1}}
DIGEST: Schema = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}

KNOWN: Mapping[str, Schema] = {
    "replicaCount": POSITIVE,
    "image.repository": {"type": "string", "minLength": 1},
    "image.digest": DIGEST,
    "image.variant": {"enum": ["cpu", "gpu"]},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "database.kind": {"enum": ["sqlite", "postgresql"]},
    "models.kind": {"enum": ["image", "pvc", "blob"]},
    "models.blob.url": {"type": "string", "pattern": r"^(https://[^/?#]+/[^?#]+)?$"},
    "models.blob.only": STRINGS,
    "models.blob.versions": POSITIVE,
    "models.blob.sizeLimit": QUANTITY,
    "persistence.accessMode": {"enum": ["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"]},
    "persistence.size": QUANTITY,
    "resources": RESOURCES,
    "gpu.count": POSITIVE,
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.port": PORT,
    "route.kind": {"enum": ["none", "httproute", "ingress"]},
    "route.hosts": STRINGS,
    "route.timeoutSeconds": POSITIVE,
    "autoscaling.kind": {"enum": ["none", "hpa", "keda"]},
    "autoscaling.minReplicas": POSITIVE,
    "autoscaling.maxReplicas": POSITIVE,
    "autoscaling.hpa.cpuPercent": {"type": "integer", "minimum": 1, "maximum": 100},
    "autoscaling.keda.queuePerReplica": POSITIVE,
    "autoscaling.keda.scoringsPerReplica": NATURAL,
    "autoscaling.keda.pollingInterval": POSITIVE,
    "autoscaling.keda.cooldownPeriod": NATURAL,
    "podDisruptionBudget.maxUnavailable": {"type": ["integer", "string"], "pattern": "^[0-9]+%$", "minimum": 1},
    "networkPolicy.database.cidrs": STRINGS,
    "networkPolicy.database.port": PORT,
    "networkPolicy.fqdns": STRINGS,
    "drain.preStopSeconds": POSITIVE,
    "drain.graceSeconds": POSITIVE,
    "monitoring.serviceMonitor.apiVersion": {"enum": ["monitoring.coreos.com/v1", "azmonitoring.coreos.com/v1"]},
    "monitoring.serviceMonitor.interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
    "monitoring.prometheusRule.p99Seconds": {"type": "number", "exclusiveMinimum": 0},
    "sweep.data": STRINGS,
    "sweep.maxTrials": POSITIVE,
    "sweep.workers": NATURAL,
    "sweep.args": STRINGS,
    "sweep.image.digest": DIGEST,
    "sweep.resources": RESOURCES,
    "loadtest.args": STRINGS,
    "loadtest.workers": POSITIVE,
    "loadtest.run": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"},
    "loadtest.deadlineSeconds": POSITIVE,
    "loadtest.image.digest": DIGEST,
    "loadtest.resources": RESOURCES,
}
"""What a default does not tell of a value."""


def _is(path: str, wanted: Schema) -> Schema:
    """Values of which the one at a dotted path is as wanted."""
    for part in reversed(path.split(".")):
        wanted = {"type": "object", "required": [part], "properties": {part: wanted}}
    return wanted


def _equals(path: str, *values: object) -> Schema:
    return _is(path, {"enum": list(values)})


def _all(*conditions: Schema) -> Schema:
    return {"allOf": list(conditions)}


def _any(*conditions: Schema) -> Schema:
    return {"anyOf": list(conditions)}


def _without_secret(group: str, in_vault: str) -> Schema:
    vault = _all(_equals("keyVault.enabled", True), {"not": _equals(f"keyVault.secrets.{in_vault}", "")})
    return _all(_equals(f"{group}.existingSecret", ""), {"not": vault})


EMPTY: Schema = {"maxItems": 0}
SEVERAL = _any(
    _all(_equals("autoscaling.kind", "none"), _is("replicaCount", {"type": "integer", "minimum": 2})),
    _equals("autoscaling.kind", "hpa", "keda"),
)
SQLITE, POSTGRESQL = _equals("database.kind", "sqlite"), _equals("database.kind", "postgresql")
ROUTED = {"not": _equals("route.kind", "none")}
NO_DATABASE_ADDRESS = _all(
    _is("networkPolicy.database.cidrs", EMPTY), _is("networkPolicy.database.podLabels", {"maxProperties": 0})
)

RULES: Mapping[str, Schema] = {
    "more than one replica, or autoscaling, needs database.kind=postgresql: SQLite serves one replica": _all(SEVERAL, SQLITE),
    "SQLite needs persistence.enabled=true: jobs and uploaded sets would go with the pod": _all(
        SQLITE, _equals("persistence.enabled", False)
    ),
    "replicas cannot share this volume: set persistence.accessMode=ReadWriteMany or persistence.enabled=false": _all(
        SEVERAL, _equals("persistence.enabled", True), _equals("persistence.accessMode", "ReadWriteOnce", "ReadWriteOncePod")
    ),
    "database.kind=postgresql needs its address: database.existingSecret or keyVault.secrets.databaseUrl": _all(
        POSTGRESQL, _without_secret("database", "databaseUrl")
    ),
    "the network policy must let the service out to its database: networkPolicy.database.cidrs or podLabels": _all(
        _equals("networkPolicy.enabled", True), POSTGRESQL, NO_DATABASE_ADDRESS
    ),
    "gpu.enabled=true needs image.variant=gpu: the image for CPUs has no CUDA": _all(
        _equals("gpu.enabled", True), _equals("image.variant", "cpu")
    ),
    "image.variant=gpu needs gpu.enabled=true: without a GPU it refuses to start": _all(
        _equals("gpu.enabled", False), _equals("image.variant", "gpu")
    ),
    "a route needs keys: apiKeys.anonymous=true would serve everybody": _all(ROUTED, _equals("apiKeys.anonymous", True)),
    "a LoadBalancer needs keys: apiKeys.anonymous=true would serve everybody": _all(
        _equals("service.type", "LoadBalancer"), _equals("apiKeys.anonymous", True)
    ),
    "route.hosts must name at least one host": _all(ROUTED, _is("route.hosts", EMPTY)),
    "route.kind=httproute needs route.httproute.gateway, or createOfClass with tlsSecret": _all(
        _equals("route.kind", "httproute"),
        _equals("route.httproute.gateway", ""),
        _any(_equals("route.httproute.createOfClass", ""), _equals("route.httproute.tlsSecret", "")),
    ),
    "autoscaling.kind=keda needs a trigger: autoscaling.keda.prometheus or scoringsPerReplica": _all(
        _equals("autoscaling.kind", "keda"),
        _equals("autoscaling.keda.prometheus", ""),
        _equals("autoscaling.keda.scoringsPerReplica", 0),
    ),
    "models.kind=pvc needs models.pvc.existingClaim": _all(
        _equals("models.kind", "pvc"), _equals("models.pvc.existingClaim", "")
    ),
    "models.kind=blob needs models.blob.url": _all(_equals("models.kind", "blob"), _equals("models.blob.url", "")),
    "keyVault.enabled=true needs keyVault.name, keyVault.tenantId and workloadIdentity.clientId": _all(
        _equals("keyVault.enabled", True),
        _any(_equals("keyVault.name", ""), _equals("keyVault.tenantId", ""), _equals("workloadIdentity.clientId", "")),
    ),
    "settings.custom_vision__endpoint needs its key: customVision.existingSecret or keyVault.secrets.customVisionKey": _all(
        _is("settings.custom_vision__endpoint", {}), _without_secret("customVision", "customVisionKey")
    ),
    "settings.azure_ml__endpoint needs its key: azureML.existingSecret or keyVault.secrets.azureMLKey": _all(
        _is("settings.azure_ml__endpoint", {}), _without_secret("azureML", "azureMLKey")
    ),
    "sweep.enabled=true needs sweep.study, sweep.data, sweep.existingSecret and sweep.storeClaim": _all(
        _equals("sweep.enabled", True),
        _any(
            _equals("sweep.study", ""),
            _is("sweep.data", EMPTY),
            _equals("sweep.existingSecret", ""),
            _equals("sweep.storeClaim", ""),
        ),
    ),
    "the network policy must let the sweep out to its database: networkPolicy.database.cidrs or podLabels": _all(
        _equals("networkPolicy.enabled", True), _equals("sweep.enabled", True), NO_DATABASE_ADDRESS
    ),
}
"""What must not be, by what is said of it."""


def schema_of(values: Mapping[str, Any]) -> Schema:
    """The schema, for the default values."""
    whole = _object(values, "")
    whole["properties"]["global"] = {"type": "object"}  # Helm puts it there for charts within charts
    whole["properties"]["settings"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(sorted(settings())),
    }
    rules = [{"if": condition, "then": {"required": [message]}} for message, condition in RULES.items()]
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values", **whole, "allOf": rules}


def settings() -> Iterator[tuple[str, Schema]]:
    """Those that `settings` takes, groups as `group__field`."""
    whole = Settings.model_json_schema()
    for name, field in whole["properties"].items():
        group = whole["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else None
        fields = {f"{name}__{part}": one for part, one in group["properties"].items()} if group else {name: field}
        for full, one in fields.items():
            if full not in OWNED and not one.get("writeOnly"):
                yield full, _plain(one)


def _plain(field: Mapping[str, Any]) -> Schema:
    """What a value of a setting may be; what is inside lists and maps the service itself checks."""
    one = next((kind for kind in field.get("anyOf", []) if kind["type"] != "null"), field)
    kept = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "items")
    found = {key: one[key] for key in kept if key in one and "$ref" not in str(one[key])}
    return {"description": " ".join(field.get("description", "").split()), **found}


def _object(values: Mapping[str, Any], path: str) -> Schema:
    properties = {name: _value(value, f"{path}{name}") for name, value in values.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _value(value: object, path: str) -> Schema:
    if path in KNOWN:
        return dict(KNOWN[path])
    if isinstance(value, dict):
        free = path.endswith(("abels", "nnotations", "Selector", "affinity", "strategy"))
        return {"type": "object"} if free else _object(value, f"{path}.")
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return {"type": kinds[type(value)]}
