"""Distillation: a network learns from what a better one makes of the training images (Hinton et al., 2015, arXiv:1503.02531).

The teacher answers each image with p, the mean over the image and its mirror image. Softened by a temperature T it is
q_i = p_i^(1/T) / sum_j p_j^(1/T), which is softmax(z / T) for the logits z behind p. The student learns the target
(1 - w) * y + w * q, y being the label as a vector; since cross-entropy is linear in its target, that is the loss
(1 - w) * CE(y, s) + w * CE(q, s). It is Hinton's but for the student's own temperature, which stays 1 (and the factor T^2 that
makes up for it with that): targets remain probabilities, so mixup, label smoothing and averaging know nothing of a teacher.
"""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.datasets import batches
from models.errors import UsageError
from models.machine import usable_cpus
from models.metadata import ModelCard, TeacherFacts, Variant
from models.repository import Repository, StoredModel
from models.runtime import OnnxModel
from training.data import TrainingSet, prepare
from training.progress import advance_bar, bar, console
from training.runs import Run, RunRecord

CHUNK = 32

Scores = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Lesson:
    """What a student is given: the images with their softened targets, who softened them, and how long that took."""

    data: TrainingSet
    teacher: TeacherFacts
    seconds: float


def lesson(run: Run, record: RunRecord, data: TrainingSet, store: Repository) -> Lesson | None:
    """Ask the recipe's teacher about all training images, or find its answers in the run's folder. None without a teacher.

    The teacher sees the source images at its own size, as it would serve them: what the student's size has lost would make it
    a worse teacher. Raises `UsageError` if the store has no such teacher or it knows other labels.
    """
    settings = record.recipe.distill
    if settings is None:
        return None
    stored, variant = _teacher(record, store)
    _check(stored.card, record, data)
    facts = TeacherFacts(name=stored.card.name, version=stored.card.version, file=variant.file, sha256=variant.sha256)
    run.note(teacher=facts)
    scores, seconds = _cached(run, record, data, stored, variant)
    taught = replace(data, soft_targets=blend(data, scores, settings.weight, settings.temperature))
    return Lesson(taught, facts, seconds)


def blend(data: TrainingSet, scores: Scores, weight: float, temperature: float) -> Scores:
    """Targets float32 [train, classes] out of the labels and of a teacher's scores for the same images."""
    labels = np.eye(len(data.labels), dtype=np.float32)[data.targets[data.train]]
    return np.asarray((1 - weight) * labels + weight * soften(scores, temperature), np.float32)


def soften(scores: Scores, temperature: float) -> Scores:
    """Probabilities [N, classes] as if their logits had been divided by the temperature."""
    powers = scores.astype(np.float64) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _teacher(record: RunRecord, store: Repository) -> tuple[StoredModel, Variant]:
    """The version that the recipe names; of a run that goes on, the one that it began with."""
    settings, known = record.recipe.distill, record.teacher
    assert settings is not None  # noqa: S101  # for the type checker
    stored = store.get(settings.teacher, known.version if known else settings.version)
    variant = stored.card.variant("fp32") or stored.card.variants[0]
    if known and known.sha256 != variant.sha256:
        raise UsageError(f"{known.name}/{known.version} is not the teacher any more that this run began with: start anew")
    stored.verify([variant])
    return stored, variant


def _check(card: ModelCard, record: RunRecord, data: TrainingSet) -> None:
    if set(card.labels) != set(data.labels):
        raise UsageError(f"the teacher {card.name} knows {', '.join(card.labels)}; this data has {', '.join(data.labels)}")
    unseen = {file.sha256 for file in card.training.excluded} if card.training else set()
    if missing := [file.name for file in data.excluded if file.sha256 not in unseen]:
        console.print(
            f"[yellow]the teacher {card.name}/{card.version} was trained without leaving out {', '.join(missing)}[/]: if it has "
            f"learnt from those images, what {record.name} reaches on them flatters it",
            highlight=False,
        )


def _cached(run: Run, record: RunRecord, data: TrainingSet, stored: StoredModel, variant: Variant) -> tuple[Scores, float]:
    """Scores float32 [train, classes] in the order of the data's labels, and the seconds that they took once."""
    images = [file.sha256 for file in (*data.data, *data.excluded)]
    key = hashlib.sha256(repr((variant.sha256, data.labels, images, data.train.tolist())).encode()).hexdigest()
    if run.teacher_scores.exists():
        with np.load(run.teacher_scores, allow_pickle=False) as kept:
            if str(kept["key"]) == key:
                return kept["scores"], float(kept["seconds"])
    began = time.monotonic()
    model = OnnxModel(stored.folder / variant.file, threads=1)
    order = [stored.card.labels.index(label) for label in data.labels]
    pixels = _pixels(run, record, data, stored.card)
    try:
        scores = _ask(model.run, pixels, data.train)[:, order]
    finally:
        run.teacher_pixels.unlink(missing_ok=True)
    seconds = time.monotonic() - began
    part = run.teacher_scores.with_name("part.npz")
    np.savez(part, key=np.array(key), scores=scores, seconds=np.array(seconds))
    part.replace(run.teacher_scores)
    right = float((scores.argmax(axis=1) == data.targets[data.train]).mean())
    console.print(
        f"teacher {stored.card.name}/{stored.card.version}: agrees with {right:.1%} of the labels to learn from; "
        f"asked in {seconds:.0f} s",
        highlight=False,
    )
    return scores, seconds


def _pixels(run: Run, record: RunRecord, data: TrainingSet, card: ModelCard) -> Pixels:
    """All images, in the rows that they have in `data`, at the teacher's size."""
    if card.input == record.recipe.input_spec:
        return data.pixels
    with bar("images") as progress:
        return prepare(
            record.sources,
            [],
            card.input,
            run.teacher_pixels,
            left_out=record.left_out,
            skip_unreadable=True,  # whoever does not want that was told when the student's were decoded
            progress=lambda text, total: advance_bar(progress, text, total),
        ).pixels


def _ask(answer: Callable[[Pixels], Scores], pixels: Pixels, rows: npt.NDArray[np.int64]) -> Scores:
    """Mean scores of images and their mirror images, on all cores."""

    def both(chunk: npt.NDArray[np.int64]) -> Scores:
        images = pixels[chunk]
        return np.asarray((answer(images) + answer(np.ascontiguousarray(images[:, :, ::-1]))) / 2, np.float32)

    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    parts: list[Scores] = []
    with bar("images") as progress, ThreadPoolExecutor(usable_cpus()) as pool:
        advance = advance_bar(progress, "teacher", len(rows))
        for group in batches(chunks, 4 * usable_cpus()):  # so that Ctrl-C need not wait for all of them
            for part in pool.map(both, group):
                parts.append(part)
                for _ in part:
                    advance()
    return np.concatenate(parts)
