"""What a model's card says of the search that chose its settings."""

from pydantic import BaseModel, ConfigDict


class SweepFacts(BaseModel):
    """A study, and which of its trials won."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    trials: int
    """That came to an end."""
    ended_early: int
    sampling: str
    early_termination: str
    winner: int
    """Number of the trial whose settings the model has."""
