"""What the winner of a sweep is trained by: a recipe of transfer learning that a search has written."""

from models.sweep_facts import SweepFacts
from training.transfer_recipe import TransferRecipe


class AutomlRecipe(TransferRecipe):
    """A recipe, and where its settings come from."""

    sweep: SweepFacts

    @property
    def kind(self) -> str:
        """The name by which a model's card calls the recipe."""
        return "automl"

    @property
    def command(self) -> str:
        """What follows `parallax train`."""
        return "automl"
