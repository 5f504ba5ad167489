"""What scoring jobs leave in the database. Scores are float32 bytes, lists and maps JSON, times seconds since the epoch."""

from sqlalchemy import Boolean, Column, Double, ForeignKey, Index, Integer, LargeBinary, String, Table, Text

from service.database import metadata
from service.scoring.jobs import LONGEST_PATH

JOBS = Table(
    "scorings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("created", Double, nullable=False),
    Column("began", Double),
    Column("ended", Double),
    Column("caller", String(200), nullable=False),
    Column("idempotency", String(300), unique=True),
    Column("request", String(64), nullable=False),
    Column("options", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("cancel", Boolean, nullable=False, default=False),
    Column("owner", String(200)),
    Column("lease", Double),
    Column("note", Text),
    Column("machine", Text),
)
"""`request`: digest of what was asked for, to tell an idempotency key that comes again from one that is used twice. `owner`: the
process that works on it, until `lease`. `note`: what should be known of how it ended. `machine`: what
worked on it, in words."""
DELETED = "deleted"
"""State of a job whose rows are being deleted: for everybody but who does that, it is not there any more."""

BACKENDS = Table(
    "scoring_backends",
    metadata,
    Column("job", String(32), ForeignKey("scorings.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("place", Integer, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("version", String(100), nullable=False),
    Column("precision", String(40), nullable=False),
    Column("provider", String(100), nullable=False),
    Column("labels", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("correct", Integer, nullable=False, default=0),
    Column("seconds", Double, nullable=False, default=0.0),
    Column("terms", Text),
)
"""`seconds`: how long its images were worked on, all attempts of all processes together. `terms`: prices and training as of when
that began (`models.scoring.facts.Terms`), so that results never change."""

IMAGES = Table(
    "scoring_images",
    metadata,
    Column("job", String(32), ForeignKey("scorings.id", ondelete="CASCADE"), primary_key=True),
    Column("list", LargeBinary, nullable=False),
)
"""Which images, in which order, with their labels: JSON, compressed. The job is over them even if its set changes meanwhile."""

ROWS = Table(
    "scoring_rows",
    metadata,
    Column("job", String(32), ForeignKey("scorings.id", ondelete="CASCADE"), primary_key=True),
    Column("backend", String(100), primary_key=True),
    Column("image", String(LONGEST_PATH), primary_key=True),
    Column("label", String(300)),
    Column("predicted", String(300)),
    Column("probability", Double),
    Column("scores", LargeBinary),
    Column("queue_ms", Double),
    Column("decode_ms", Double),
    Column("infer_ms", Double),
    Column("total_ms", Double),
    Column("error", String(60)),
    Column("detail", Text),
)

EVENTS = Table(
    "scoring_events",
    metadata,
    Column("job", String(32), ForeignKey("scorings.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("data", Text, nullable=False),
)
"""What happened to a job, from 1: queued, started, resumed, released, and how it ended (succeeded, failed, cancelled)."""

OPEN_JOBS = Index("ix_scorings_open", JOBS.c.state, JOBS.c.created)
