"""The floor: the least that any ASGI server does for a request, under uvicorn. It reads the body and answers a fixed text.

What it takes at one connection is the price of HTTP over loopback on this machine, whoever serves: waking another process, and
on a virtual machine often an idle processor too, for the request and again for the reply.
"""

from starlette.types import Receive, Scope, Send

BODY = b'{"floor":true}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer everything alike."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
