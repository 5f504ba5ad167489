"""Microsoft's SDK, with its traps closed, and every way in which a call of it can fail as one error of ours.

Closed here, for version 3.1.1 on msrest 0.7.1. It follows a redirect, and takes key and image along. It waits 4.8 s on a refused
connection, and tries no POST again. It raises a bare TypeError where a failure has no body, urllib3's own error where a GET is
told 500, and loses the status both times. It lets a proxy of the environment in between even on loopback.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from models import refusals
from models.errors import UsageError
from training.customvision.access import PREDICTION_KEY, TRAINING_KEY, Access
from training.customvision.rate import Rate

Client: TypeAlias = Any
"""Of the SDK, which ships no types that hold."""

Result = TypeVar("Result")

TIMEOUT_S = (10.0, 100.0)
"""To connect, and between two bytes of an answer."""

ATTEMPTS = 6
MAX_WAIT_S = 120.0
"""When the service asks for more patience than this, as for a month's quota, the call has failed."""

AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class ServiceError(UsageError):
    """Custom Vision did not do what it was asked for."""

    def __init__(self, message: str, *, status: int | None = None, code: str = "", wait_s: float | None = None) -> None:
        """`status`: of the answer, None if there was none. `code`: the service's own. `wait_s`: how long it wants to be left."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.wait_s = wait_s


class Service:
    """A client of one resource: calls under a rate, tried again where that helps. Threads may share it."""

    def __init__(
        self, client: Client, access: Access, key_variable: str, rate: Rate, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.client = client
        self.access = access
        self.rate = rate
        self.sleep = sleep
        self._key_variable = key_variable
        self._last = threading.local()
        client.config.hooks.append(self._note)
        client.config.redirect_policy.allow = False
        client.config.retry_policy.retries = 0
        client.config.retry_policy.policy.status_forcelist = frozenset()  # else a GET's status gets lost in a RetryError
        if access.local:
            client.config.proxies.use_env_settings = False

    def call(self, doing: str, operation: Callable[..., Any], *args: object, again: bool = True, **options: object) -> Any:  # noqa: ANN401
        """What an operation of the client returns. Raises `ServiceError`, which says what was being done.

        `again=False`: an operation that must not be done twice; only a refusal for the rate is tried again.
        """
        for attempt in range(1, ATTEMPTS + 1):
            self.rate.turn()
            try:
                with self._mapped(doing):
                    return operation(*args, timeout=TIMEOUT_S, **options)
            except ServiceError as exc:
                worth = exc.status == 429 or (again and (exc.status is None or exc.status in AGAIN))
                if attempt == ATTEMPTS or not worth or (exc.wait_s or 0) > MAX_WAIT_S:
                    raise
                wait = max(exc.wait_s or 0.0, 0.5 * 2 ** (attempt - 1)) * random.uniform(1.0, 1.25)  # noqa: S311  # spreads callers
                if exc.status == 429:
                    self.rate.hold(wait)
                else:
                    self.sleep(wait)
        raise AssertionError("unreachable")

    @contextmanager
    def _mapped(self, doing: str) -> Iterator[None]:
        from azure.cognitiveservices.vision.customvision.prediction.models import CustomVisionErrorException as OfPrediction
        from azure.cognitiveservices.vision.customvision.training.models import CustomVisionErrorException as OfTraining
        from azure.core.exceptions import DeserializationError
        from msrest.exceptions import ClientException

        self._last.response = None
        try:
            yield
        except (OfPrediction, OfTraining) as exc:
            raise self._refused(doing, self._last.response) from exc
        except (ClientException, DeserializationError, TypeError) as exc:
            response = self._last.response
            if response is not None and not 200 <= response.status_code < 300:
                raise self._refused(doing, response) from exc
            if response is None and not isinstance(exc, TypeError):
                raise ServiceError(f"{doing}: {self.access.host} gives no answer: {self._clean(str(exc))}") from exc
            if response is None:
                raise
            raise ServiceError(
                f"{doing}: {self.access.host} answered with what can't be read: {self._clean(str(exc))}", status=None
            ) from exc

    def _note(self, response: Any, *_args: object, **_options: object) -> None:  # noqa: ANN401
        self._last.response = response

    def _refused(self, doing: str, response: Any) -> ServiceError:  # noqa: ANN401  # of requests
        status = int(response.status_code)
        try:
            text = str(response.text)
        except Exception:  # noqa: BLE001  # a body that broke off: the status is what there is
            text = ""
        code, message = refusals.code_and_message(text)
        reason = " ".join(word for word in (code, message) if word) or "it gave no reason"
        return ServiceError(
            f"{doing}: {self.access.host} answered {status}: {self._clean(reason)}{self._hint(status)}",
            status=status,
            code=code,
            wait_s=patience(response.headers, message),
        )

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            return f". Is {self._key_variable} the key of this endpoint?"
        if 300 <= status < 400:
            return ". It is not followed, for the key would go along; set the endpoint to the address that answers"
        return ""

    def _clean(self, text: str) -> str:
        return " ".join(text.replace(self.access.key.get_secret_value(), "***").split())[:500]


def training_service(access: Access, rate: Rate) -> Service:
    """A client of the training resource."""
    with sdk():
        from azure.cognitiveservices.vision.customvision.training import CustomVisionTrainingClient
        from msrest.authentication import ApiKeyCredentials
    credentials = ApiKeyCredentials(in_headers={"Training-key": access.key.get_secret_value()})
    return Service(CustomVisionTrainingClient(access.endpoint, credentials), access, TRAINING_KEY, rate)


def prediction_service(access: Access, rate: Rate) -> Service:
    """A client of the prediction resource."""
    with sdk():
        from azure.cognitiveservices.vision.customvision.prediction import CustomVisionPredictionClient
        from msrest.authentication import ApiKeyCredentials
    credentials = ApiKeyCredentials(in_headers={"Prediction-key": access.key.get_secret_value()})
    return Service(CustomVisionPredictionClient(access.endpoint, credentials), access, PREDICTION_KEY, rate)


@contextmanager
def sdk() -> Iterator[None]:
    """Say what to install if the SDK is not there."""
    logging.getLogger("msrest").setLevel(logging.WARNING)  # below that it writes what services answer, whatever is in it
    try:
        yield
    except ImportError as exc:
        raise UsageError("this needs azure-cognitiveservices-vision-customvision: make train-env") from exc


def patience(headers: Mapping[str, str], message: str) -> float | None:
    """Seconds that the service wants to be left alone, by its header or its words; None: it did not say."""
    stated = refusals.from_header(headers.get("Retry-After"))
    return refusals.from_words(message) if stated is None else stated
