"""The Jobs of a load test: one leads and judges, the others send."""

from typing import Any

from tests.helm.cases import CASES
from tests.support.charts import Rendered, Thing, render

FILES, VALUES = CASES["loadtest"]


def pod(rendered: Rendered, role: str) -> Thing:
    (job,) = [one for one in rendered.of("Job") if f"-{role}-" in one["metadata"]["name"]]
    found: Thing = job["spec"]["template"]
    return found


def container(rendered: Rendered, role: str) -> Thing:
    (found,) = pod(rendered, role)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def params(arguments: list[str]) -> dict[str, Any]:
    from typer.main import get_command

    from parallax import app

    group, name, *rest = arguments
    command: Any = get_command(app)
    found: dict[str, Any] = command.commands[group].commands[name].make_context(name, rest).params
    return found


def test_there_is_none_unless_asked_for() -> None:
    rendered = render()
    assert not rendered.of("Job")
    assert not [thing for thing in rendered if thing["metadata"]["name"].endswith("loadtest")]


def test_the_arguments_are_commands_of_ours() -> None:
    rendered = render(VALUES, *FILES)
    lead = params(container(rendered, "lead")["args"])
    assert (lead["url"], lead["lead"], lead["processes"]) == ("http://demo-parallax:80", "*", 3)
    assert (lead["rate"], lead["duration"]) == (200, 300)
    assert str(lead["report"]) == "/data/report-release-2.html"
    assert params(container(rendered, "send")["args"])["master"] == "demo-parallax-loadtest"


def test_workers_find_the_pod_that_leads() -> None:
    rendered = render(VALUES, *FILES)
    service = rendered.one("Service", "-loadtest")["spec"]
    lead = pod(rendered, "lead")
    assert service["selector"].items() <= lead["metadata"]["labels"].items()
    assert not service["selector"].items() <= pod(rendered, "send")["metadata"]["labels"].items()
    assert service["publishNotReadyAddresses"] is True
    (port,) = lead["spec"]["containers"][0]["ports"]
    (served,) = service["ports"]
    assert served["targetPort"] == port["name"]
    assert served["port"] == port["containerPort"] == params(container(rendered, "send")["args"])["port"]


def test_as_many_send_as_are_waited_for_and_only_they_are_tried_again() -> None:
    jobs = {one["metadata"]["name"].split("-")[3]: one["spec"] for one in render(VALUES, *FILES).of("Job")}
    assert [jobs[role]["parallelism"] for role in ("lead", "send")] == [1, 3]
    assert [jobs[role]["completions"] for role in ("lead", "send")] == [1, 3]
    assert jobs["lead"]["backoffLimit"] == 0
    assert jobs["send"]["backoffLimit"] > 0


def test_they_are_of_the_image_for_load_tests_and_have_the_key_as_a_file() -> None:
    rendered = render(VALUES, *FILES)
    for role in ("lead", "send"):
        one = container(rendered, role)
        assert one["image"] == "parallax:0.1.0-loadtest"
        assert one["env"] == [{"name": "PARALLAX_API_KEYS_FILE", "value": "/etc/parallax/api-keys"}]
        mounted = {mount["name"]: mount for mount in one["volumeMounts"]}
        assert (mounted["api-keys"]["mountPath"], mounted["api-keys"]["readOnly"]) == ("/etc/parallax", True)
        (keys,) = [volume["secret"] for volume in pod(rendered, role)["spec"]["volumes"] if "secret" in volume]
        assert keys["secretName"] == "demo-parallax-api-keys"
        assert pod(rendered, role)["spec"]["nodeSelector"] == {"pool": "tests"}
    open_to_all = render({**VALUES, "apiKeys": {"anonymous": True}}, *FILES)
    assert "env" not in container(open_to_all, "lead")


def test_another_run_is_another_job() -> None:
    names = {one["metadata"]["name"] for one in render(VALUES, *FILES).of("Job")}
    again = render({"loadtest": {**VALUES["loadtest"], "run": "release-3"}}, *FILES)
    assert not names & {one["metadata"]["name"] for one in again.of("Job")}
    assert names == {one["metadata"]["name"] for one in render(VALUES, *FILES).of("Job")}


def test_the_policies_let_them_to_the_service_and_to_each_other_alone() -> None:
    rendered = render(VALUES, *FILES)
    spec = rendered.one("NetworkPolicy", "-loadtest")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    chosen = spec["podSelector"]["matchExpressions"][0]["values"]
    parts = {role: pod(rendered, role)["metadata"]["labels"]["app.kubernetes.io/component"] for role in ("lead", "send")}
    assert set(chosen) == set(parts.values())
    (inward,) = spec["ingress"]
    assert inward["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == parts["send"]
    _names, service, leader = spec["egress"]
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["to"][0]["podSelector"]["matchLabels"].items() <= labels.items()
    assert [port["port"] for port in service["ports"]] == [rendered.container["ports"][0]["containerPort"]]
    assert leader["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == parts["lead"]
    http = rendered.one("NetworkPolicy", "-in")["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    for role in ("lead", "send"):
        assert http.items() <= pod(rendered, role)["metadata"]["labels"].items(), "the service lets them in"
