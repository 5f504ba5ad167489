"""What routes that take an image share in their OpenAPI entries."""

from typing import Any

from models import errors as shared
from service import errors

IMAGE_ERRORS = (shared.EmptyImage, shared.UnsupportedImage, shared.BrokenImage, shared.ImageTooLarge, shared.ImageTooSmall)
UPLOAD_ERRORS = (errors.BadParameter, errors.BadMultipart, errors.BodyTooLarge, errors.BodyTooSlow, errors.UploadsFull)
GUARD_ERRORS = (errors.MissingKey, errors.ForeignOrigin)
QUEUE_ERRORS = (errors.QueueFull, errors.NotReady, errors.Closing, errors.DeadlineExceeded, errors.BackendFailed)
REMOTE_ERRORS = (
    errors.RemoteBusy,
    errors.RemoteDown,
    errors.BudgetSpent,
    errors.RemoteFailed,
    errors.RemoteTimedOut,
    errors.DatabaseFailed,
)
LOOKUP_ERRORS = (errors.UnknownBackend, errors.UnknownVersion)

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The image file itself (JPEG, PNG, WebP, BMP or GIF; any Content-Type), or a form with a part `image`.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "string", "format": "binary"}},
                }
            },
        },
    },
    "parameters": [
        {
            "name": "X-Deadline-Ms",
            "in": "header",
            "required": False,
            "description": "Drop the image with 504 if inference has not begun by then.",
            "schema": {"type": "integer", "minimum": 1},
        },
        {
            "name": "Priority",
            "in": "header",
            "required": False,
            "description": "RFC 9218: `u=0` to `u=7`. From `u=4` on the image waits for all that are more urgent.",
            "schema": {"type": "string", "examples": ["u=5"]},
        },
    ],
}
