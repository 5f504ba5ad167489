"""`CARD.md`: what a person should know before relying on a model."""

from collections.abc import Mapping

from models.metadata import ModelCard, TrainingFacts

INTEL_ARCHIVES = ("intel", "seg_train", "IntelImageClassification")


def card_text(card: ModelCard) -> str:
    """Markdown for a freshly trained model. It repeats nothing that changes later: `model.json` has the test results."""
    facts = card.training
    if facts is None:
        raise ValueError("a model of unknown training has no card to write")
    counts = facts.counts
    value = facts.validation
    return f"""# {card.name}

Classifies an image into one of {len(card.labels)} classes: {", ".join(card.labels)}.
Input: RGB, resized to {card.input.width} x {card.input.height} ({card.input.resize}); {facts.parameters:,} parameters.

## How it was made

- recipe `{facts.recipe}`, seed {facts.seed}: {facts.epochs} epochs, the best of them {facts.best_epoch}
{_backbones(facts)}{_teacher(facts)}{_sweep(facts)}- {facts.minutes:.0f} minutes on {facts.cores} cores, about {facts.usd:.2f} USD
- {counts.train:,} images to learn from, {counts.validation:,} to choose by
- dropped: {counts.left_out} by name, {counts.unreadable} unreadable, {counts.in_excluded_set} that also stand in the test set,
  {counts.conflicting_duplicates} duplicates under two labels
- data: {_data(facts)}

## How well it does

- validation: {value.value:.1%} (95 % interval {value.low:.1%} to {value.high:.1%}); it was chosen by this figure, so it flatters
- test: see `tests` in `model.json`, or `parallax models show {card.name}`

## Limits of use

- It knows its {len(card.labels)} classes and nothing else: an image of anything else still gets one of them, and often
  with confidence.
- It learnt from the images named above. Other cameras, seasons, places or crops lower its accuracy; measure it on your own
  images (`parallax models evaluate {card.name} --test ...`) before you rely on it.
{_data_limits(facts)}"""


def _backbones(facts: TrainingFacts) -> str:
    learnt = {"scratch": "", "frozen": "frozen; only what stands on it has learnt", "fine_tuned": "fine-tuned from the top"}
    return "".join(
        f"- on {backbone.name} (weights {backbone.weights}, SHA-256 {backbone.sha256[:12]}...), {learnt[facts.phase]}\n"
        for backbone in facts.backbones
    )


def _teacher(facts: TrainingFacts) -> str:
    teacher = facts.teacher
    if teacher is None:
        return ""
    weight, temperature = facts.settings.get("distill.weight"), facts.settings.get("distill.temperature")
    return (
        f"- distilled from {teacher.name}/{teacher.version} ({teacher.file}, SHA-256 {teacher.sha256[:12]}...), "
        f"weight {weight}, temperature {temperature}\n"
    )


def _sweep(facts: TrainingFacts) -> str:
    sweep = facts.sweep
    if sweep is None:
        return ""
    return (
        f"- settings chosen by the sweep {sweep.study}: trial {sweep.winner} of {sweep.trials} ({sweep.sampling} sampling; "
        f"early termination {sweep.early_termination}: {sweep.ended_early}); minutes and price are those of the whole sweep\n"
    )


def imported_card_text(card: ModelCard, file: str, sha256: str, preprocess: Mapping[str, object]) -> str:
    """Markdown for a model that was trained elsewhere: `file` as it came, and what was declared of its pixels."""
    declared = " ".join(f"{key}={value}" for key, value in preprocess.items())
    return f"""# {card.name}

Classifies an image into one of {len(card.labels)} classes: {", ".join(card.labels)}.
Input: RGB, resized to {card.input.width} x {card.input.height} ({card.input.resize}).

## How it was made

- imported from `{file}` (SHA-256 {sha256[:12]}...), trained elsewhere
- declared of its input and output: {declared or "nothing beyond the defaults"}; it is part of the graph now

## Limits of use

- Nothing is known here of the images it learnt from, nor of their terms.
- Whether the declaration is right, only labelled images tell: `parallax models evaluate {card.name} --test ...`.
- It knows its {len(card.labels)} classes and nothing else: an image of anything else still gets one of them, and often
  with confidence.
"""


def _data(facts: TrainingFacts) -> str:
    return ", ".join(f"{file.name} ({file.images:,} images, SHA-256 {file.sha256[:12]}...)" for file in facts.data)


def _data_limits(facts: TrainingFacts) -> str:
    """Terms that come with known data; of one's own, one knows them oneself."""
    if any(file.name.startswith(INTEL_ARCHIVES) for file in facts.data):
        return (
            "- The Intel scenes are offered for research; about 4 % of their labels are wrong or undecidable, so no honest test\n"
            "  result exceeds 96 %. Glacier and mountain, buildings and street are the pairs that it mistakes most.\n"
        )
    return "- The terms of the images it learnt from apply to what is done with it.\n"
