"""The quota of paid services.

Databases that were made before there were steps have these tables already.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them, where they are not."""
    op.create_table(
        "remote_spend",
        sa.Column("account", sa.String(300), primary_key=True),
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("calls", sa.Integer, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "remote_places",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("account", sa.String(300), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_remote_places_account", "remote_places", ["account"], if_not_exists=True)
