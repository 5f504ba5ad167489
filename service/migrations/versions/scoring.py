"""Scoring jobs, their rows and their events."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _job() -> "sa.Column[str]":
    return sa.Column("job", sa.String(32), sa.ForeignKey("scorings.id", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Make the five tables."""
    op.create_table(
        "scorings",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("began", sa.Double),
        sa.Column("ended", sa.Double),
        sa.Column("caller", sa.String(200), nullable=False),
        sa.Column("idempotency", sa.String(300), unique=True),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("cancel", sa.Boolean, nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("lease", sa.Double),
        sa.Column("note", sa.Text),
    )
    op.create_index("ix_scorings_open", "scorings", ["state", "created"])
    op.create_table(
        "scoring_backends",
        _job(),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("version", sa.String(100), nullable=False),
        sa.Column("precision", sa.String(40), nullable=False),
        sa.Column("provider", sa.String(100), nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("correct", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
    )
    op.create_table("scoring_images", _job(), sa.Column("list", sa.LargeBinary, nullable=False))
    op.create_table(
        "scoring_rows",
        _job(),
        sa.Column("backend", sa.String(100), primary_key=True),
        sa.Column("image", sa.String(1024), primary_key=True),
        sa.Column("label", sa.String(300)),
        sa.Column("predicted", sa.String(300)),
        sa.Column("probability", sa.Double),
        sa.Column("scores", sa.LargeBinary),
        sa.Column("queue_ms", sa.Double),
        sa.Column("decode_ms", sa.Double),
        sa.Column("infer_ms", sa.Double),
        sa.Column("total_ms", sa.Double),
        sa.Column("error", sa.String(60)),
        sa.Column("detail", sa.Text),
    )
    op.create_table(
        "scoring_events",
        _job(),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )
