"""Scoring jobs know the machine, the prices and the training that their results state."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add two columns. Of jobs of before nobody knows."""
    op.add_column("scorings", sa.Column("machine", sa.Text))
    op.add_column("scoring_backends", sa.Column("terms", sa.Text))
