"""Where a network can be cut in two: at layers through which everything passes.

What lies below stays frozen, and what it gives can be cached; what lies above learns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import keras

from models.errors import UsageError

NEARLY = 0.06
"""Cuts whose share differs from the wanted one by no more than this compete by the size of what they give."""


@dataclass(frozen=True)
class Cut:
    """One place to cut."""

    layer: str
    tensor: keras.KerasTensor
    """What the frozen part gives, [N,...]."""
    share: float
    """Of the layers with weights, how many lie above."""

    @property
    def values(self) -> int:
        """Numbers for each image that a cache would hold."""
        return prod(self.tensor.shape[1:])


def cuts(network: keras.Model) -> list[Cut]:
    """All places with layers to learn both below and above, from the input upwards."""
    operations: Sequence[Any] = network.operations  # each after those that it takes its inputs from
    places = {id(one): place for place, one in enumerate(operations)}
    nodes = _nodes(network)
    needed_until = list(range(len(operations)))
    for place, one in enumerate(operations):
        for tensor in nodes[id(one)].input_tensors:
            needed_until[places[id(_maker(tensor))]] = place
    weighted = [bool(getattr(one, "weights", [])) for one in operations]
    total, below, still_needed = sum(weighted), 0, 0
    found = []
    for place, one in enumerate(operations[:-1]):
        below += weighted[place]
        outputs = nodes[id(one)].outputs
        passes = still_needed <= place and len(outputs) == 1  # nothing from below is needed above but this
        if passes and 0 < below < total and not isinstance(operations[place + 1], keras.layers.BatchNormalization):
            found.append(Cut(one.name, outputs[0], (total - below) / total))
        still_needed = max(still_needed, needed_until[place])
    return found


def choose(network: keras.Model, share: float, layer: str | None = None) -> Cut:
    """The cut at a layer, or the one above which about a share of the layers with weights lies; of several near, the smallest.

    Between a layer and its batch norm there is none. Raises `UsageError`, saying where cuts are.
    """
    found = cuts(network)
    if not found:
        raise UsageError(f"{network.name} can't be cut in two: fine-tune all of it, from pixels (share = 1)")
    if layer is not None:
        for cut in found:
            if cut.layer == layer:
                return cut
        offers = ", ".join(f"{cut.layer} ({cut.share:.2f})" for cut in found)
        raise UsageError(f"{network.name} can't be frozen up to {layer!r}; with the share that learns: {offers}")
    nearest = min(abs(cut.share - share) for cut in found)
    near = [cut for cut in found if abs(cut.share - share) <= max(nearest, NEARLY)]
    return min(near, key=lambda cut: (cut.values, abs(cut.share - share)))


def below(network: keras.Model, cut: Cut) -> keras.Model:
    """The frozen part: what the network takes -> what the cut gives."""
    return keras.Model(network.inputs[0], cut.tensor, name=f"{network.name}_below")


def above(network: keras.Model, cut: Cut) -> keras.Model:
    """The part that learns: what the cut gives -> what the network gives. It shares its layers with the network."""
    return keras.Model(cut.tensor, network.outputs[0], name=f"{network.name}_above")


def _maker(tensor: keras.KerasTensor) -> Any:  # noqa: ANN401  # a layer or another operation
    return tensor._keras_history.operation  # noqa: SLF001  # keras' own way from a tensor to what gave it


def _nodes(network: keras.Model) -> dict[int, Any]:
    """For every operation, by its id, the call of it that belongs to this network: it may have been called elsewhere too."""
    found: dict[int, Any] = {}
    pending = list(network.outputs)
    while pending:
        tensor = pending.pop()
        one = _maker(tensor)
        if id(one) not in found:
            node = one._inbound_nodes[tensor._keras_history.node_index]  # noqa: SLF001
            found[id(one)] = node
            pending.extend(node.input_tensors)
    return found
