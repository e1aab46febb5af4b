"""Masked-language modelling (Devlin et al. 2019, section 3.1) as an objective of the loop."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tanzaku.compute import Compute
from tanzaku.pretraining.batches import PackedBatches
from tanzaku.pretraining.masking import MaskedBatch, MaskedBatches, Masker
from tanzaku.pretraining.model import MaskedPredictor
from tanzaku.pretraining.objective import HeldOut


class MaskedLanguage:
    """Predicts hidden tokens. Losses are in nats a masked token.

    Args:
        predictor: The encoder with its head.
        batches: The text.
        masker: Hides tokens.
        seed: Of the masks.
        compute: The device.
    """

    def __init__(
        self, predictor: MaskedPredictor, batches: PackedBatches, masker: Masker, *, seed: int, compute: Compute
    ) -> None:
        self._predictor, self._device = predictor, compute.device
        self.model: nn.Module = predictor.model
        self.batches = batches
        self._masked = MaskedBatches(batches, masker, seed=seed)
        self._held_out = self._masked.held_out()

    def loss(self, step: int) -> Tensor:
        """The mean cross-entropy, ()."""
        batch = self._masked.training(step)
        shifts = None if batch.shifts is None else torch.from_numpy(batch.shifts).to(self._device)
        return self._predictor.loss(*self._tensors(batch), shifts=shifts)

    def evaluate(self) -> HeldOut:
        """The mean cross-entropy and the accuracy over all held-out masked tokens."""
        loss = correct = torch.zeros((), dtype=torch.float64, device=self._device)
        count = 0
        for batch in self._held_out:
            input_ids, positions, labels = self._tensors(batch)
            logits = self._predictor.logits(input_ids, positions).float()  # (masked, vocabulary)
            loss = loss + functional.cross_entropy(logits, labels, reduction="sum")
            correct = correct + (logits.argmax(dim=-1) == labels).sum()
            count += len(labels)
        return HeldOut(loss=float(loss) / count, measures={"held_out_accuracy": float(correct) / count})

    def _tensors(self, batch: MaskedBatch) -> tuple[Tensor, Tensor, Tensor]:
        arrays = (batch.input_ids, batch.positions, batch.labels)
        ids, positions, labels = (torch.from_numpy(array).to(self._device, non_blocking=True) for array in arrays)
        return ids, positions, labels
