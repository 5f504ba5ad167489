"""Looks at the server before it is loaded: who is there, and whether one request of each kind is answered as it should be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from loadtest.asks import asks
from loadtest.images import varied
from loadtest.plan import Kind, Plan

LOCAL = frozenset({"onnx", "fake"})
"""Kinds of backends that run in the service itself. Others are somebody else's, who counts calls."""
PATIENCE_S = 30.0


class ServerError(RuntimeError):
    """The server can't be tested as asked: the message says what to do about it."""


@dataclass(frozen=True)
class Ready:
    """A plan that the server can be asked to."""

    plan: Plan
    backend: str
    """The one to name where an address must name one."""
    notes: Sequence[str]
    """What was left out, and why."""


def look(url: str, plan: Plan, key: str, *, allow_remote: bool = False) -> Ready:
    """Ask for the backends and rehearse each kind. Raises `ServerError`."""
    with httpx.Client(base_url=url, headers={"X-API-Key": key} if key else {}, timeout=PATIENCE_S) as client:
        try:
            listing = _backends(client, url, key)
            plan, backend = _choose(plan, listing, allow_remote=allow_remote)
            notes = [note for kind in plan.kinds if (note := _rehearse(client, kind, plan, backend, key))]
        except httpx.HTTPError as exc:
            raise ServerError(
                f"{url} can't be reached ({type(exc).__name__}: {exc}). Is the server running? `make serve` starts one"
            ) from exc
        except httpx.InvalidURL as exc:
            raise ServerError(f"{url} is no address: {exc}") from exc
    if notes:
        shares = {kind: share for kind, share in plan.mix.items() if kind != "customvision"}
        if not any(shares.values()):
            raise ServerError(notes[0])
        plan = plan.model_copy(update={"mix": shares})
    return Ready(plan, backend, notes)


def _backends(client: httpx.Client, url: str, key: str) -> Mapping[str, Any]:
    reply = client.get("/v1/backends")
    if reply.status_code == 401:
        raise ServerError(
            "the server does not know the key in PARALLAX_API_KEY"
            if key
            else "the server asks for an API key: set PARALLAX_API_KEY"
        )
    try:
        listing: Mapping[str, Any] = reply.raise_for_status().json()
        listing["backends"], listing["default"]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as exc:
        raise ServerError(f"{url} is no Parallax server: GET /v1/backends gave {reply.status_code}") from exc
    return listing


def _choose(plan: Plan, listing: Mapping[str, Any], *, allow_remote: bool) -> tuple[Plan, str]:
    """The plan with its backends named, none of which costs somebody's money unless that is allowed."""
    kinds = {one["name"]: one["kind"] for one in listing["backends"] if one["state"] != "failed"}
    backend = plan.backend or listing["default"]
    local = [name for name, kind in kinds.items() if kind in LOCAL]
    several = [name.strip() for name in plan.backends.split(",") if name.strip()] or (list(kinds) if allow_remote else local)
    for name in [backend, *several]:
        if name not in kinds:
            raise ServerError(f"the server has no backend {name!r} that is ready; it has: {', '.join(kinds) or 'none'}")
        if kinds[name] not in LOCAL and not allow_remote:
            raise ServerError(
                f"the backend {name!r} asks a service elsewhere, which counts calls and may bill them. "
                f"Say --allow-remote if that is meant, or --backend with one of: {', '.join(local) or 'none here'}"
            )
    return plan.model_copy(update={"backend": plan.backend and backend, "backends": ",".join(several)}), backend


def _rehearse(client: httpx.Client, kind: Kind, plan: Plan, backend: str, key: str) -> str:
    """Send one request of a kind. Returns why to leave the kind out, if it can be. Raises `ServerError`."""
    if kind == "scoring":
        reply = client.get("/v1/scorings", params={"limit": 1})
        fate = "ok" if reply.status_code == 200 else f"{reply.status_code} to GET /v1/scorings"
    else:
        ask = asks(kind, plan, varied(plan.seed, 1), backend)[0]
        headers = {"Content-Type": "application/octet-stream", **ask.headers, **({"Prediction-Key": key} if key else {})}
        reply = client.post(ask.path, content=ask.body, headers=headers)
        fate = ask.judge(reply.status_code, reply.content)
    if fate in {"ok", "shed"}:
        return ""
    if kind == "customvision" and reply.status_code == 404:
        return (
            f"customvision is left out: the server publishes no such project ({fate}). "
            "--project and --published-name say which (PARALLAX_CUSTOM_VISION_API__PROJECTS of the server)"
        )
    raise ServerError(f"a first request of {kind} was not answered as it should be: {fate}")
