"""Run by `helm test`: classifies a picture of the image as a client would, at URL, with the first key of the file KEYS."""

import http.client
import json
import os
import pathlib
from urllib.parse import urlsplit

address = urlsplit(os.environ["URL"])
headers = {}
if keys := os.environ.get("KEYS"):
    entries = pathlib.Path(keys).read_text(encoding="utf-8").split()
    headers["X-API-Key"] = entries[0].partition(":")[2]
picture = pathlib.Path(os.environ.get("PICTURE") or "/app/docs/samples/sea.jpg").read_bytes()
connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=30)
connection.request("POST", "/v1/classify", picture, headers)
reply = connection.getresponse()
answer = json.loads(reply.read())
print(reply.status, json.dumps(answer))  # noqa: T201  # this is its report
raise SystemExit(0 if reply.status == http.client.OK and answer["predictions"] else 1)
