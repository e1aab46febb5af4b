"""Distillation as an objective of the loop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from tanzaku.compute import Compute
from tanzaku.errors import DataError, SpecError
from tanzaku.pretraining.batches import PARTS, PackedBatches
from tanzaku.pretraining.distillation.losses import (
    FEWEST_ROWS,
    directions,
    unexplained,
    unexplained_similarities,
    variance_of,
)
from tanzaku.pretraining.distillation.states import LayerStates
from tanzaku.pretraining.distillation.student import evenly_spaced
from tanzaku.pretraining.objective import HeldOut
from tanzaku.training.events import Measure

HiddenLoss = Literal["layers", "last", "none"]
PooledLoss = Literal["vectors", "similarities", "none"]
_SHORTEST = 32  # tokens of a sequence that was cut shorter
_MEASURED_TOKENS = 8_192  # of the held-out text, for the teacher's variances


@dataclass(frozen=True)
class Losses:
    """What is learned; see `DistillOptions`."""

    hidden: HiddenLoss
    pooled: PooledLoss
    pooled_weight: float


@dataclass(frozen=True)
class Distances:
    """How far the student is from the teacher on one batch; tensors are (), float32, and None is not learned."""

    layers: list[Tensor]
    pooled: Tensor | None
    cosine: Tensor | None


def matched_layers(*, student: int, teacher: int, hidden: HiddenLoss) -> tuple[tuple[int, int], ...]:
    """Pairs of a student's layer and the teacher's that it learns from: every one, or only the last.

    The teacher's are evenly spaced (Jiao et al. 2020, arXiv 1909.10351, section 3.1).
    """
    pairs = tuple(zip(range(student), evenly_spaced(student, of=teacher), strict=True))
    return pairs if hidden == "layers" else pairs[-1:]


class Distillation:
    """The student's hidden states and pooled vectors are to be the teacher's.

    The loss is the mean of `unexplained` over the matched layers plus `pooled_weight` times that of the vectors
    that are the means over a sequence's tokens of the last layer. Where the widths differ, the student's states are
    compared after a linear map of each layer's own, which is trained and thrown away. The teacher's variances are
    measured once on the held-out text.

    Args:
        student: Trained; on its device.
        teacher: Frozen; on the same device, in evaluation mode.
        batches: The text.
        losses: What is learned.
        mixed_lengths: Cut the sequences of a batch, drawn by `seed`, into 1, 2, 4, ... shorter ones.
        seed: Of the lengths.
        compute: How the student is computed.
        teacher_compute: How the teacher is.

    Raises:
        SpecError: A batch has too few sequences for the loss.
        DataError: The held-out text has.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel,
        batches: PackedBatches,
        *,
        losses: Losses,
        mixed_lengths: bool,
        seed: int,
        compute: Compute,
        teacher_compute: Compute,
    ) -> None:
        theirs, ours = teacher.config, student.config
        self.matched = matched_layers(
            student=ours.num_hidden_layers, teacher=theirs.num_hidden_layers, hidden=losses.hidden
        )
        self.batches = batches
        self._losses, self._seed, self._device = losses, seed, compute.device
        self._parts = _numbers_of_parts(batches.max_tokens) if mixed_lengths else [1]
        self._student = LayerStates(student, after=[ours for ours, _ in self.matched], compute=compute)
        self._teacher = LayerStates(teacher, after=[theirs for _, theirs in self.matched], compute=teacher_compute)
        same_width = ours.hidden_size == theirs.hidden_size
        self._comparable = same_width or losses.hidden != "none" or losses.pooled == "vectors"
        if losses.pooled == "similarities":
            self._check_rows()
        means, self._variances, self._pooled_variance = self._measure_teacher()
        maps = [nn.Identity() if same_width or not self._comparable else _map(ours.hidden_size, mean) for mean in means]
        self._maps = nn.ModuleList(maps).to(compute.device)
        self.model: nn.Module = nn.ModuleDict({"student": student, "projections": self._maps})

    def _check_rows(self) -> None:
        """Make sure that batches have sequences to compare: of two, each has only one other."""
        rows, length = self.batches.sequences, self.batches.max_tokens
        if rows < FEWEST_ROWS:
            raise SpecError(
                f"pooled_loss = similarities compares the sequences of a batch and takes {FEWEST_ROWS}, but "
                f"batch_tokens holds {rows} of {length:,} tokens; give {FEWEST_ROWS * length:,} or more, or "
                "pooled_loss = vectors or none"
            )
        held_out = len(next(self._held_out()))
        if held_out < FEWEST_ROWS:
            raise DataError(
                f"pooled_loss = similarities takes {FEWEST_ROWS} held-out sequences of {length:,} tokens, and the text "
                f"has {held_out}; give more text, or pooled_loss = vectors or none"
            )

    def loss(self, step: int) -> Tensor:
        """The loss, (), of a step's batch."""
        parts = int(np.random.default_rng([self._seed, PARTS, step]).choice(self._parts))
        return self._total(self._distances(cut_shorter(self.batches.training(step).input_ids, parts)))

    def evaluate(self) -> HeldOut:
        """The loss of the held-out text, of each layer and of the vectors, and the vectors' mean cosine."""
        sums: dict[str, float] = {}
        layers = [0.0] * (0 if self._losses.hidden == "none" else len(self.matched))
        tokens = 0
        for ids in self._held_out():
            distances = self._distances(ids)
            named = {"loss": self._total(distances), "pooled": distances.pooled, "cosine": distances.cosine}
            for name, value in named.items():
                if value is not None:
                    sums[name] = sums.get(name, 0.0) + float(value) * ids.size
            layers = [total + float(value) * ids.size for total, value in zip(layers, distances.layers, strict=True)]
            tokens += ids.size
        means = {name: total / tokens for name, total in sums.items()}
        measures: dict[str, Measure] = {
            "held_out_layers": [total / tokens for total in layers],
            "held_out_pooled": means.get("pooled"),
            "held_out_cosine": means.get("cosine"),
        }
        return HeldOut(loss=means["loss"], measures=measures)

    def _held_out(self) -> Iterator[np.ndarray]:
        """The held-out sequences, batches of all lengths in turn; one that is not full only if there is no other."""
        batches = [batch.input_ids for batch in self.batches.held_out()]
        for number, ids in enumerate(batches):
            if number == 0 or len(ids) == len(batches[0]):
                yield cut_shorter(ids, self._parts[number % len(self._parts)])

    @torch.no_grad()
    def _measure_teacher(self) -> tuple[list[Tensor], list[float], float]:
        """Of the teacher's states after each matched layer the means (hidden,) and variances, and the variance of the
        directions of its pooled vectors."""
        states: list[list[Tensor]] = [[] for _ in self.matched]
        vectors: list[Tensor] = []
        tokens = 0
        for ids in self._held_out():
            found = self._teacher(self._tensor(ids))
            for layer, one in zip(states, found, strict=True):
                layer.append(one.float().cpu())
            vectors.append(directions(_pooled(found[-1], ids.shape)).cpu())
            tokens += ids.size
            if tokens >= _MEASURED_TOKENS:
                break
        layers = [torch.cat(layer) for layer in states]
        means = [layer.mean(dim=0) for layer in layers]
        return means, list(map(variance_of, layers)), variance_of(torch.cat(vectors))

    def _tensor(self, ids: np.ndarray) -> Tensor:
        return torch.from_numpy(ids).to(self._device, non_blocking=True)

    def _distances(self, ids: np.ndarray) -> Distances:
        input_ids = self._tensor(ids)
        with torch.no_grad():
            theirs = self._teacher(input_ids)
        ours = self._student(input_ids)
        mapped = [to_teacher(states.float()) for to_teacher, states in zip(self._maps, ours, strict=True)]
        layers: list[Tensor] = []
        if self._losses.hidden != "none":
            triples = zip(mapped, theirs, self._variances, strict=True)
            layers = [unexplained(states, aim, variance=variance) for states, aim, variance in triples]
        vectors, aims = (_pooled(states[-1], ids.shape) for states in (mapped, theirs))
        pooled = None
        if self._losses.pooled == "vectors":
            pooled = unexplained(directions(vectors), directions(aims), variance=self._pooled_variance)
        elif self._losses.pooled == "similarities":
            pooled = unexplained_similarities(_pooled(ours[-1], ids.shape), aims)
        cosine = functional.cosine_similarity(vectors, aims, dim=-1).mean() if self._comparable else None
        return Distances(layers, pooled, cosine)

    def _total(self, distances: Distances) -> Tensor:
        total = torch.stack(distances.layers).mean() if distances.layers else torch.zeros((), device=self._device)
        return total if distances.pooled is None else total + self._losses.pooled_weight * distances.pooled


def cut_shorter(ids: np.ndarray, parts: int) -> np.ndarray:
    """Sequences (batch, seq) as (batch * parts, seq // parts), each between the first and the last token again."""
    if parts == 1:
        return ids
    rows, tokens = ids.shape
    inner = tokens // parts - 2
    shorter = np.empty((rows * parts, inner + 2), dtype=ids.dtype)
    shorter[:, 0], shorter[:, -1] = ids[0, 0], ids[0, -1]
    shorter[:, 1:-1] = ids[:, 1 : 1 + parts * inner].reshape(rows * parts, inner)
    return shorter


def _numbers_of_parts(max_tokens: int) -> list[int]:
    numbers = [1]
    while max_tokens // (2 * numbers[-1]) >= _SHORTEST:
        numbers.append(2 * numbers[-1])
    return numbers


def _map(width: int, mean: Tensor) -> nn.Linear:
    """A linear map from `width` that at first gives the teacher's mean (hidden,), of which the loss is 1."""
    linear = nn.Linear(width, len(mean))
    nn.init.zeros_(linear.weight)
    with torch.no_grad():
        linear.bias.copy_(mean)
    return linear


def _pooled(states: Tensor, shape: Sequence[int]) -> Tensor:
    """The mean (batch, hidden) over the tokens of states (batch * seq, hidden)."""
    split: Tensor = states.float().unflatten(0, tuple(shape))  # (batch, seq, hidden)
    return split.mean(dim=1)
