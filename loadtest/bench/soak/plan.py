"""What a soak is made of, and how often each fault comes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Half an hour has every fault at the pace that is meant; a shorter run has each a few times all the same."""

    seconds: float
    load: float = 0.7
    """Share of the capacity that is measured first."""
    workers: int = 1
    """Processes that serve."""
    seed: int = 0
    """Of what is drawn: who is killed, which images are scored, in which order bad callers come."""
    body_timeout_s: float = 20
    """As the service is set: slow callers are told after so long."""

    @property
    def window_s(self) -> float:
        """The first and the last so many seconds are held against each other."""
        return min(300.0, self.seconds / 6)

    @property
    def swap_s(self) -> float:
        """A sound version comes so often, a corrupt one half as often."""
        return min(30.0, self.seconds / 8)

    @property
    def score_s(self) -> float:
        """A scoring job is asked for so often, if the one before has ended."""
        return min(60.0, self.seconds / 4)

    @property
    def kill_s(self) -> float:
        """Something is killed so often."""
        return min(150.0, self.seconds / 5)

    @property
    def down_s(self) -> float:
        """How long the remote service stays away."""
        return min(20.0, self.seconds / 10)
