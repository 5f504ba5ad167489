"""A stand-in for Custom Vision that answers at once and always the same: what is measured is the way to it."""

import json

from starlette.types import Receive, Scope, Send

from loadtest.bench import floor

PROJECT, NAME, KEY = "5a9f6b0e-2f0b-4c57-9d0a-6f4f6d1c2b3a", "production", "the-key-of-the-stand-in"
PROBABILITIES = {"buildings": 0.03, "forest": 0.82, "glacier": 0.05, "mountain": 0.04, "sea": 0.03, "street": 0.03}
PATH = f"/customvision/v3.1/prediction/{PROJECT}/classify/iterations/{NAME}/image/nostore"

ROWS = [
    {"probability": probability, "tagId": PROJECT, "tagName": name, "tagType": "Regular"}
    for name, probability in PROBABILITIES.items()
]
BODY = json.dumps(
    {"id": PROJECT, "project": PROJECT, "iteration": PROJECT, "created": "2026-01-01T00:00:00Z", "predictions": ROWS}
)
HEADERS = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer everything alike, like the floor."""
    if scope["type"] == "lifespan":
        await floor.app(scope, receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY.encode()})
