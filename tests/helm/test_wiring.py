"""What the objects say to each other, and to the service."""

import json
from typing import Any

import pytest

from scripts import chart
from scripts.chart_schema import OWNED, settings
from service.settings import Settings, load_settings
from tests.helm.cases import CASES
from tests.support.charts import CHART, Rendered, Thing, peers, render

NAMES = {
    f"PARALLAX_{name.upper()}" for name, field in Settings.model_fields.items() if not hasattr(field.annotation, "model_fields")
} | {f"PARALLAX_{name.upper()}" for name, _ in settings()}
KEYS = {"PARALLAX_CUSTOM_VISION__KEY", "PARALLAX_AZURE_ML__KEY", "PARALLAX_OTEL__HEADERS"}


def made(name: str) -> Rendered:
    files, values = CASES[name]
    return render(values, *files)


def variables(container: Thing) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container.get("env", [])}


def test_schema_and_readme_follow_from_values_and_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["chart", "--check"])
    assert chart.main() == 0, capsys.readouterr().err
    told = chart.documented((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert told["apiKeys.anonymous"] == "Serve everybody who can reach the service. Not together with a route."
    rows = (CHART / "README.md").read_text(encoding="utf-8").partition(chart.BEGIN)[2].splitlines()
    assert not [row for row in rows if row.startswith("| `") and row.endswith("|  |")], "every value is told of"


def test_settings_that_the_chart_makes_are_settings() -> None:
    assert set(Settings.model_fields) >= OWNED


@pytest.mark.parametrize("name", CASES)
def test_every_variable_is_a_setting_of_the_service(name: str) -> None:
    rendered = made(name)
    assert set(rendered.env) <= NAMES
    assert {one for one in variables(rendered.container) if one.startswith("PARALLAX_")} <= NAMES | KEYS


@pytest.mark.parametrize("name", ["defaults", "settings", "remote", "data sets", "anonymous"])
def test_the_service_takes_the_settings_as_they_are_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = made(name)
    for variable, value in rendered.env.items():
        monkeypatch.setenv(variable, value)
    for variable in variables(rendered.container):
        monkeypatch.setenv(variable, "2" if variable == "PARALLAX_CPUS" else "a-secret")
    taken = load_settings()
    assert (taken.host, taken.port, taken.metrics_port, taken.cpus) == ("0.0.0.0", 8000, 9090, 2.0)
    if name == "settings":
        assert (taken.max_queue, taken.max_body_bytes, taken.tune) == (100, 8_000_000, "off")
        assert taken.fixed_plan("cnn").lanes == 2


def test_a_collector_gets_its_headers_from_a_secret_and_learns_which_pod_it_is_told_of() -> None:
    rendered = made("telemetry")
    assert (rendered.env["PARALLAX_OTEL__ENDPOINT"], rendered.env["PARALLAX_OTEL__SAMPLE"]) == ("https://otlp.example.com", "0.1")
    found = variables(rendered.container)
    assert found["PARALLAX_OTEL__HEADERS"] == {"secretKeyRef": {"name": "collector", "key": "otel-headers"}}
    assert found["OTEL_RESOURCE_ATTRIBUTES"].endswith("k8s.pod.name=$(POD_NAME)")
    names = list(found)
    assert names.index("POD_NAME") < names.index("OTEL_RESOURCE_ATTRIBUTES"), "or Kubernetes would not fill it in"
    assert not [name for name in variables(made("defaults").container) if "OTEL" in name]


def test_cpus_are_the_limit_or_else_the_request() -> None:
    limited = variables(made("defaults").container)["PARALLAX_CPUS"]["resourceFieldRef"]
    assert limited == {"containerName": "parallax", "resource": "limits.cpu", "divisor": "1"}
    free = render({"resources": {"limits": {"cpu": None}}})
    assert "cpu" not in free.container["resources"]["limits"]
    assert variables(free.container)["PARALLAX_CPUS"]["resourceFieldRef"]["resource"] == "requests.cpu"


def test_a_key_is_made_unless_one_is_named_and_it_is_one_that_the_service_takes() -> None:
    from base64 import b64decode

    rendered = made("defaults")
    (text,) = rendered.one("Secret")["data"].values()
    name, _, key = b64decode(text).decode().partition(":")
    assert name == "default"
    assert len(key) == 40
    (volume,) = [one for one in rendered.pod["volumes"] if one["name"] == "api-keys"]
    assert volume["secret"]["secretName"] == rendered.one("Secret")["metadata"]["name"]
    (mount,) = [one for one in rendered.container["volumeMounts"] if one["name"] == "api-keys"]
    assert rendered.env["PARALLAX_API_KEYS_FILE"] == f"{mount['mountPath']}/{volume['secret']['items'][0]['path']}"
    assert made("existing keys").of("Secret") == []
    assert made("existing keys").env["PARALLAX_API_KEYS_FILE"] == "/etc/parallax/mine"
    open_to_all = made("anonymous")
    assert open_to_all.env["PARALLAX_ALLOW_ANONYMOUS"] == "true"
    assert "PARALLAX_API_KEYS_FILE" not in open_to_all.env
    assert open_to_all.of("Secret") == []


def test_a_stop_drains_before_it_kills() -> None:
    rendered = made("defaults")
    wait = rendered.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert wait >= 3
    assert rendered.pod["terminationGracePeriodSeconds"] >= wait + int(rendered.env["PARALLAX_GRACE_S"]) + 5
    probes = {kind: rendered.container[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes == {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def test_sqlite_is_one_pod_s_at_a_time_and_postgresql_s_pods_overlap() -> None:
    assert made("defaults").one("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert made("replicas").one("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize("name", CASES)
def test_replicas_have_one_master(name: str) -> None:
    rendered = made(name)
    scalers = [*rendered.of("HorizontalPodAutoscaler"), *rendered.of("ScaledObject")]
    assert ("replicas" in rendered.one("Deployment")["spec"]) is not bool(scalers)
    assert len(scalers) <= 1
    assert all(one["spec"]["scaleTargetRef"]["name"] == rendered.one("Deployment")["metadata"]["name"] for one in scalers)


def test_keda_asks_for_the_queue_and_for_pending_scorings() -> None:
    rendered = made("keda")
    triggers = {one["type"]: one for one in rendered.one("ScaledObject")["spec"]["triggers"]}
    assert (
        'parallax_queue_requests{namespace="shop", service="demo-parallax-metrics"}'
        in triggers["prometheus"]["metadata"]["query"]
    )
    reference = triggers["postgresql"]["authenticationRef"]["name"]
    (secret,) = rendered.one("TriggerAuthentication", reference)["spec"]["secretTargetRef"]
    assert (secret["parameter"], secret["name"], secret["key"]) == ("connection", "database", "database-url")


def test_a_gpu_is_asked_for_in_every_way_that_it_takes() -> None:
    rendered = made("gpu")
    assert rendered.container["image"] == "parallax:0.1.0-gpu"
    assert rendered.container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert rendered.env["PARALLAX_DEVICE"] == "cuda"
    taints = {(one["key"], one["value"], one["effect"]) for one in rendered.pod["tolerations"]}
    assert taints == {("sku", "gpu", "NoSchedule"), ("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule")}
    assert made("aks gpu").pod["nodeSelector"]["kubernetes.azure.com/accelerator"] == "nvidia"
    assert made("defaults").container["image"] == "parallax:0.1.0"
    pinned = render({"image": {"digest": f"sha256:{'0' * 64}"}})
    assert pinned.container["image"] == f"parallax@sha256:{'0' * 64}"


def test_models_from_blobs_are_there_before_the_service_is() -> None:
    rendered = made("models from blobs")
    (fetch,) = rendered.pod["initContainers"]
    assert fetch["image"] == rendered.container["image"]
    assert fetch["args"] == [
        "models", "fetch", "https://a.blob.core.windows.net/models/prod", "--store=/models", "--versions=2", "--only=cnn",
    ]  # fmt: skip
    mounts = {one["name"]: one for one in rendered.container["volumeMounts"]}
    assert (mounts["models"]["mountPath"], mounts["models"]["readOnly"]) == (rendered.env["PARALLAX_MODELS_DIR"], True)


def test_a_vault_s_secrets_arrive_where_they_are_read() -> None:
    rendered = made("aks cpu")
    vault = rendered.one("SecretProviderClass")["spec"]
    names = {one["objectName"]: one["key"] for one in vault["secretObjects"][0]["data"]}
    assert names == {"parallax-api-keys": "api-keys", "parallax-database-url": "database-url"}
    assert all(f"objectName: {name}\n" in vault["parameters"]["objects"] for name in names)
    url = variables(rendered.container)["PARALLAX_DATABASE_URL"]["secretKeyRef"]
    assert (url["name"], url["key"]) == (vault["secretObjects"][0]["secretName"], "database-url")
    (mount,) = [one for one in rendered.container["volumeMounts"] if one["name"] == "vault"]
    assert rendered.env["PARALLAX_API_KEYS_FILE"] == f"{mount['mountPath']}/parallax-api-keys"
    account = rendered.one("ServiceAccount")
    assert account["metadata"]["annotations"]["azure.workload.identity/client-id"] == vault["parameters"]["clientID"]
    assert rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    assert rendered.pod["serviceAccountName"] == account["metadata"]["name"]


def test_a_route_waits_as_long_as_the_service_and_never_cuts_a_stream() -> None:
    rendered = made("httproute")
    rules = {rule["matches"][0]["path"]["value"]: rule for rule in rendered.one("HTTPRoute")["spec"]["rules"]}
    assert int(rules["/"]["timeouts"]["request"].rstrip("s")) * 1000 >= load_settings().deadline_ms
    assert rules["/v1/scorings"]["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    service = rendered.one("Service", "parallax")
    for rule in rules.values():
        (backend,) = rule["backendRefs"]
        assert (backend["name"], backend["port"]) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    own = made("own gateway")
    assert own.one("HTTPRoute")["spec"]["parentRefs"][0]["name"] == own.one("Gateway")["metadata"]["name"]
    assert [one["hostname"] for one in own.one("Gateway")["spec"]["listeners"]] == own.one("HTTPRoute")["spec"]["hostnames"]


def test_an_ingress_lets_the_largest_body_through_unbuffered_and_its_path_alone() -> None:
    said = made("ingress").one("Ingress")["metadata"]["annotations"]
    assert int(said["nginx.ingress.kubernetes.io/proxy-body-size"]) > max(
        load_settings().max_dataset_bytes, load_settings().max_body_bytes
    )
    assert said["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert said["nginx.ingress.kubernetes.io/proxy-request-buffering"] == "off"
    assert int(said["nginx.ingress.kubernetes.io/proxy-read-timeout"]) * 1000 >= load_settings().deadline_ms
    assert not [name for name in said if "rewrite" in name or "regex" in name], "either would decode %2F"
    larger = render({"route": CASES["ingress"][1]["route"], "settings": {"max_dataset_bytes": 5_000_000_000}})
    assert int(larger.one("Ingress")["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"]) == 5_001_000_000


def test_defaults_of_the_service_that_the_chart_repeats_are_its_defaults() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").rglob("*.*"))
    for name in ("deadline_ms", "max_body_bytes", "max_dataset_bytes", "max_queue"):
        assert f'"name" "{name}" "default" {Settings.model_fields[name].default})' in text


def test_the_network_policy_opens_what_is_needed_and_no_private_address() -> None:
    rules = made("replicas").one("NetworkPolicy", "-out")["spec"]["egress"]
    by_port = {rule["ports"][0]["port"]: rule for rule in rules}
    assert set(by_port) == {53, 5432, 443}
    assert peers(by_port[5432]) == ["10.1.2.0/28"]
    outward = by_port[443]["to"][0]["ipBlock"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "168.63.129.16/32"} <= set(outward["except"])
    assert len(made("defaults").one("NetworkPolicy", "-out")["spec"]["egress"]) == 2, "SQLite needs no database's port"
    named = made("cilium")
    assert [rule["ports"][0]["port"] for rule in named.one("NetworkPolicy", "-out")["spec"]["egress"]] == [53]
    _, web = named.one("CiliumNetworkPolicy")["spec"]["egress"]
    assert web["toFQDNs"] == [{"matchPattern": "*.blob.core.windows.net"}, {"matchName": "login.microsoftonline.com"}]


def test_only_those_named_may_ask_and_the_release_s_own_test() -> None:
    gateway = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}
    rendered = render({"networkPolicy": {"from": [gateway]}})
    http, metrics = rendered.one("NetworkPolicy", "-in")["spec"]["ingress"]
    own, named = http["from"]
    assert named == gateway
    assert own["podSelector"]["matchLabels"].items() <= rendered.one("Pod")["metadata"]["labels"].items()
    assert metrics["from"] == [{"namespaceSelector": {}}], "all pods of the cluster"


def test_a_sweep_is_one_that_finishes_and_workers_on_the_same_study() -> None:
    rendered = made("sweep")
    finish, work = (
        next(job for job in rendered.of("Job") if f"-{role}-" in job["metadata"]["name"]) for role in ("finish", "work")
    )
    assert (finish["spec"]["parallelism"], work["spec"]["parallelism"]) == (1, 3)
    arguments = [job["spec"]["template"]["spec"]["containers"][0]["args"] for job in (finish, work)]
    assert arguments[0][:-1] == arguments[1][:-1]
    assert (arguments[0][-1], arguments[1][-1]) == ("--resume", "--worker")
    for job in (finish, work):
        container = job["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == "parallax:0.1.0-train"
        assert variables(container)["PARALLAX_STUDY_STORAGE"]["secretKeyRef"] == {"name": "study", "key": "study-storage"}


def test_a_sweep_s_arguments_are_a_command_of_ours() -> None:
    from typer.main import get_command

    from parallax import app

    (job,) = [one for one in made("sweep").of("Job") if "-work-" in one["metadata"]["name"]]
    first, second, *rest = job["spec"]["template"]["spec"]["containers"][0]["args"]
    command: Any = get_command(app)
    taken = command.commands[first].commands[second].make_context("automl", rest).params
    assert (taken["study"], taken["worker"], taken["max_trials"]) == ("scenes", True, 20)
    assert list(taken["data"]) == ["/datasets/a.zip", "https://example.com/b.zip"]


def test_another_study_is_another_job() -> None:
    files, values = CASES["sweep"]
    names = {job["metadata"]["name"] for job in made("sweep").of("Job")}
    other = render({**values, "sweep": {**values["sweep"], "study": "faces"}}, *files)
    assert not names & {job["metadata"]["name"] for job in other.of("Job")}


def test_settings_restart_the_pods() -> None:
    sums = {
        json.dumps(made(name).one("Deployment")["spec"]["template"]["metadata"]["annotations"])
        for name in ("defaults", "settings")
    }
    assert len(sums) == 2
