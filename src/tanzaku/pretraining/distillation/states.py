"""The hidden states of an encoder after some of its layers, computed as pretraining computes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tanzaku.compute import Compute
from tanzaku.encoders.fast import FastEncoder, fast_encoder
from tanzaku.errors import EncoderError


class LayerStates:
    """Gives the hidden states after layers of an encoder, for sequences without padding.

    Args:
        model: On its device; on the fast path its frozen weights are converted in place.
        after: The layers' numbers from 0, ascending.
        compute: How.

    Raises:
        EncoderError: The fast path is asked for, and can't compute this model.
    """

    def __init__(self, model: PreTrainedModel, *, after: Sequence[int], compute: Compute) -> None:
        self._model, self._after, self._compute = model, tuple(after), compute
        self._fast: FastEncoder | None = None
        if compute.path == "fast":
            self._fast = fast_encoder(model, precision=compute.precision)
            if self._fast is None:
                raise EncoderError("the fast path can't compute this encoder; use --no-fast")

    def __call__(self, input_ids: Tensor) -> list[Tensor]:
        """For `input_ids` (batch, seq) int64 the states (batch * seq, hidden) after each layer."""
        if self._fast is not None:
            rows, tokens = input_ids.shape
            everywhere = torch.ones_like(input_ids)
            return self._fast.states(input_ids, everywhere, lengths=[tokens] * rows, after=self._after)
        with self._compute.autocast():
            output = self._model(input_ids=input_ids, output_hidden_states=True)
        states = [*output.hidden_states[1:-1], output.last_hidden_state]
        return [states[number].flatten(0, 1) for number in self._after]
