"""Values that the chart is rendered with: each feature once, together with what it needs."""

from collections.abc import Mapping, Sequence
from typing import Any

POSTGRESQL: dict[str, Any] = {
    "database": {"kind": "postgresql", "existingSecret": "database"},
    "networkPolicy": {"database": {"cidrs": ["10.1.2.0/28"]}},
    "persistence": {"accessMode": "ReadWriteMany"},
}
VAULT: dict[str, Any] = {
    "keyVault": {"name": "vault", "tenantId": "11111111-1111-1111-1111-111111111111"},
    "workloadIdentity": {"clientId": "22222222-2222-2222-2222-222222222222"},
    "networkPolicy": {"database": {"cidrs": ["10.1.2.0/28"]}},
    "models": {"blob": {"url": "https://account.blob.core.windows.net/models"}},
    "route": {"hosts": ["parallax.example.com"]},
}

CASES: Mapping[str, tuple[Sequence[str], dict[str, Any]]] = {
    "defaults": ((), {}),
    "replicas": ((), {"replicaCount": 3, **POSTGRESQL}),
    "anonymous": ((), {"apiKeys": {"anonymous": True}}),
    "existing keys": ((), {"apiKeys": {"existingSecret": "keys", "key": "mine"}}),
    "without a volume": ((), {**POSTGRESQL, "persistence": {"enabled": False}}),
    "settings": ((), {"settings": {"max_queue": 100, "max_body_bytes": 8_000_000, "plans": {"*": {"lanes": 2}}, "tune": "off"}}),
    "remote": (
        (),
        {
            "settings": {
                "custom_vision__endpoint": "https://x.cognitiveservices.azure.com",
                "custom_vision__project": "33333333-3333-3333-3333-333333333333",
                "custom_vision__published_name": "production",
                "azure_ml__endpoint": "https://y.westeurope.inference.ml.azure.com/score",
            },
            "customVision": {"existingSecret": "cv"},
            "azureML": {"existingSecret": "aml"},
        },
    ),
    "models on a volume": ((), {"models": {"kind": "pvc", "pvc": {"existingClaim": "store", "subPath": "prod"}}}),
    "models from blobs": (
        (),
        {
            "models": {
                "kind": "blob",
                "blob": {"url": "https://a.blob.core.windows.net/models/prod", "only": ["cnn"], "versions": 2},
            }
        },
    ),
    "data sets": ((), {"datasets": {"existingClaim": "sets"}}),
    "httproute": (
        (),
        {"route": {"kind": "httproute", "hosts": ["a.example.com"], "httproute": {"gateway": "g", "gatewayNamespace": "n"}}},
    ),
    "own gateway": (
        (),
        {
            "route": {
                "kind": "httproute",
                "hosts": ["a.example.com", "b.example.com"],
                "httproute": {"createOfClass": "approuting-istio", "tlsSecret": "tls"},
            }
        },
    ),
    "ingress": (
        (),
        {"route": {"kind": "ingress", "hosts": ["a.example.com"], "ingress": {"className": "nginx", "tlsSecret": "tls"}}},
    ),
    "hpa": ((), {**POSTGRESQL, "autoscaling": {"kind": "hpa"}}),
    "keda": ((), {**POSTGRESQL, "autoscaling": {"kind": "keda", "keda": {"prometheus": "http://prometheus:9090"}}}),
    "cilium": ((), {"networkPolicy": {"fqdns": ["*.blob.core.windows.net", "login.microsoftonline.com"]}}),
    "no network policy": ((), {**POSTGRESQL, "networkPolicy": {"enabled": False}}),
    "monitoring": (
        (),
        {
            "monitoring": {
                "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
                "prometheusRule": {"enabled": True},
                "dashboard": {"enabled": True},
            },
            "settings": {"max_queue": 100},
        },
    ),
    "telemetry": (
        (),
        {
            "settings": {"otel__endpoint": "https://otlp.example.com", "otel__sample": 0.1},
            "otel": {"existingSecret": "collector"},
        },
    ),
    "gpu": ((), {"image": {"variant": "gpu"}, "gpu": {"enabled": True, "count": 2, "spot": True}}),
    "sweep": (
        (),
        {
            "sweep": {
                "enabled": True,
                "study": "scenes",
                "data": ["/datasets/a.zip", "https://example.com/b.zip"],
                "workers": 3,
                "args": ["--exclude", "/datasets/test.zip"],
                "existingSecret": "study",
                "storeClaim": "store",
                "datasetsClaim": "sets",
                "stateClaim": "state",
            },
            "networkPolicy": {"database": {"podLabels": {"app": "postgresql"}}},
        },
    ),
    "loadtest": (
        (),
        {
            "loadtest": {
                "enabled": True,
                "args": ["--rate", "200", "--duration", "300"],
                "workers": 3,
                "run": "release-2",
                "reportClaim": "reports",
                "nodeSelector": {"pool": "tests"},
                "tolerations": [{"key": "tests", "operator": "Exists"}],
            }
        },
    ),
    "aks cpu": (("values-aks-cpu.yaml",), VAULT),
    "aks gpu": (("values-aks-cpu.yaml", "values-aks-gpu.yaml"), VAULT),
}
