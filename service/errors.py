"""What can go wrong while serving. Nothing here knows HTTP: `api/problems.py` says which status each becomes.

ParallaxError                     (models/errors.py, with the image and model errors)
└── ServiceError
    ├── ConfigurationError        the service can't start as it was told to
    ├── RequestError              the caller can mend it
    │   ├── BadHttp               what came is no HTTP request
    │   ├── HeadersTooLarge       headers without end
    │   ├── HeadersTooSlow        headers that did not arrive in time
    │   ├── BadParameter          a query parameter or header makes no sense
    │   ├── BadMultipart          a multipart body without a usable `image` part
    │   ├── BodyTooLarge          more bytes than accepted
    │   ├── BodyTooSlow           the body did not arrive in time
    │   ├── UnknownBackend        no such name
    │   ├── UnknownVersion        that version is not loaded
    │   ├── UnknownProject        no Custom Vision project of that id is served here
    │   ├── UnknownPublication    that project has no such published name
    │   ├── BadImageUrl           an image can't be fetched from the address that was given, or may not be
    │   ├── UnknownDataset        no labelled set of that name, or none that may be read
    │   ├── UnmatchedLabels       classes of a set that a backend does not know
    │   ├── UnknownScoring        no scoring job of that id
    │   ├── UnfinishedScoring     the job has nothing to report yet
    │   ├── KeyReused             an idempotency key came before, with something else
    │   ├── FormatUnavailable     rows can't be written in that format here
    │   ├── DatasetsFull          the quota of uploaded sets is spent
    │   ├── ReloadRefused         the store's newest version can't be served; the one before goes on
    │   ├── MissingKey            no API key, or a wrong one
    │   └── ForeignOrigin         a browser on another site, while no keys guard the service
    ├── Overloaded                come back later; nothing was begun
    │   ├── QueueFull             the backend's queue
    │   ├── UploadsFull           the budget of bytes under way
    │   ├── RemoteBusy            a remote backend's own limit
    │   ├── RemoteDown            a remote backend failed time and again, and is left alone for a while
    │   └── BudgetSpent           a remote backend may be called no more this month
    ├── NotServing                not yet, or no longer
    │   ├── NotReady              the backend is not loaded
    │   └── Closing               the service is stopping
    ├── DeadlineExceeded          dropped before inference: the answer would have come too late
    └── Unanswered                accepted, and the backend has no answer
        ├── BackendFailed         the model itself raised
        ├── RemoteFailed          a remote backend can't be reached, refuses, or answers nonsense
        ├── RemoteTimedOut        it took too long
        └── DatabaseFailed        what must be counted can't be
"""

from models.errors import ParallaxError


class ServiceError(ParallaxError):
    """Root of what goes wrong while serving."""


class ConfigurationError(ServiceError):
    """The service can't start as it was told to."""


class RequestError(ServiceError):
    """The caller can mend it."""


class BadHttp(RequestError):
    """What came is no HTTP request."""


class HeadersTooLarge(RequestError):
    """Headers without end."""


class HeadersTooSlow(RequestError):
    """Headers that did not arrive in time."""


class BadParameter(RequestError):
    """A query parameter or header makes no sense."""


class BadMultipart(RequestError):
    """A multipart body without a usable `image` part."""


class BodyTooLarge(RequestError):
    """More bytes than accepted."""


class BodyTooSlow(RequestError):
    """The body did not arrive in time."""


class UnknownBackend(RequestError):
    """No backend has that name."""


class UnknownVersion(RequestError):
    """That version is not loaded."""


class UnknownProject(RequestError):
    """No Custom Vision project of that id is served here."""


class UnknownPublication(RequestError):
    """The project has no such published name."""


class BadImageUrl(RequestError):
    """An image can't be fetched from the address that was given, or may not be."""


class UnknownDataset(RequestError):
    """There is no labelled set of that name, or none that may be read."""


class UnmatchedLabels(RequestError):
    """A set has classes that a backend does not know."""


class UnknownScoring(RequestError):
    """No scoring job has that id."""


class UnfinishedScoring(RequestError):
    """The job has nothing to report yet."""


class KeyReused(RequestError):
    """An idempotency key came before, with another request."""


class FormatUnavailable(RequestError):
    """What writes rows in that format is not installed."""


class DatasetsFull(RequestError):
    """The uploaded sets take as much room as they may."""


class ReloadRefused(RequestError):
    """The store's newest version can't be served, and what served before goes on."""


class MissingKey(RequestError):
    """No API key, or a wrong one."""


class ForeignOrigin(RequestError):
    """A page of another site asks through its visitor's browser, and no keys guard the service."""


class Overloaded(ServiceError):
    """Come back later; nothing was begun."""

    def __init__(self, message: str, retry_after: int) -> None:
        """`retry_after`: whole seconds after which it is worth another try."""
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(Overloaded):
    """The backend's queue is full."""


class UploadsFull(Overloaded):
    """The budget of body bytes under way is spent."""


class RemoteBusy(Overloaded):
    """A remote backend takes no more for now."""


class RemoteDown(Overloaded):
    """A remote backend failed time and again: it is left alone until a probe gets through."""


class BudgetSpent(Overloaded):
    """The calls that a remote backend may cost this month are made."""


class NotServing(ServiceError):
    """Not yet, or no longer."""


class NotReady(NotServing):
    """The backend is not loaded."""


class Closing(NotServing):
    """The service is stopping."""


class DeadlineExceeded(ServiceError):
    """Dropped before inference: the answer would have come too late."""


class Unanswered(ServiceError):
    """It was accepted, and the backend has no answer."""


class BackendFailed(Unanswered):
    """The model raised."""


class RemoteFailed(Unanswered):
    """A remote backend can't be reached, refuses, or answers nonsense."""


class RemoteTimedOut(Unanswered):
    """A remote backend took too long."""


class DatabaseFailed(Unanswered):
    """The database can't be asked, and what it must count first is not done without it."""
