"""One encoder in memory for many bundles: their texts go through it in the same pass, each with its own adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tanzaku.encoders.fast import fast_encoder
from tanzaku.encoders.linear import lora_update
from tanzaku.encoders.load import build_classifier, classifier_checks, load_tokenizer
from tanzaku.encoders.mixed import MIXED_MODEL_TYPES, Update, Updates, mix_linear_layers
from tanzaku.encoders.weights import read_weights
from tanzaku.runtime.rows import batches_by_length
from tanzaku.ship.bundle import MODEL_FOLDER, Bundle, EncoderBundleFacts
from tanzaku.ship.scorers import read_texts

if TYPE_CHECKING:
    from tanzaku.compute import Compute
    from tanzaku.encoders.source import EncoderSource
    from tanzaku.study.encoder_spec import EncoderSpec
    from tanzaku.training.batches import Batch

_POOLER = "pooler"


@dataclass(frozen=True, eq=False)
class AdaptedTask:
    """What a bundle adds to a shared encoder.

    Attributes:
        updates: The low-rank updates of the encoder's layers.
        head: A classifier whose encoder gives the states that were computed already.
        reading: The [encoder] section: how a text becomes tokens, and how long texts are cut.
    """

    updates: Updates
    head: nn.Module
    reading: EncoderSpec


class SharedEncoder:
    """An encoder whose weights are in memory once.

    Args:
        source: Its files.
        compute: Device and precision.
        batch_tokens: The most tokens of a pass, padding counted; a longer text is the only one of its pass.
    """

    def __init__(self, source: EncoderSource, *, compute: Compute, batch_tokens: int) -> None:
        self._source, self._compute, self._batch_tokens = source, compute, batch_tokens
        self._device = torch.device(compute.device)
        self._tokenizer = load_tokenizer(source)
        weights = read_weights(source)
        names = ("0", "1")  # the head is not used
        loaded = build_classifier(source, label_names=names, seed=0, pooling="mean", weights=weights)
        for check in classifier_checks(source, loaded).values():
            check()
        self._outside = _outside_encoder(build_classifier(source, label_names=names, seed=0, weights=weights), weights)
        self._shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}
        self.encoder: nn.Module = loaded.model.base_model.requires_grad_(False).eval().to(self._device)
        self._mix = mix_linear_layers(self.encoder)
        self._fast = fast_encoder(self.encoder, precision=compute.precision)

    def add(self, bundle: Bundle) -> AdaptedTask | None:
        """What a bundle over this encoder adds to it; None where it is more than low-rank updates and a head.

        Raises:
            BundleError, MethodError: The bundle can't be read, or does not fit the encoder.
        """
        facts = cast(EncoderBundleFacts, bundle.facts)
        method, reading = facts.build_method(), facts.encoder
        if not method.adds_low_rank or facts.base.model_type not in MIXED_MODEL_TYPES:
            return None
        loaded = build_classifier(
            self._source,
            label_names=facts.label_names,
            seed=0,  # of a head that the saved one takes the place of
            pooling=reading.pooling,
            long_text=reading.long_text,
            weights=self._placeholders(),
        )
        with method.named_errors():
            adapted = method.load(loaded.model, bundle.folder / MODEL_FOLDER, head=loaded.head).eval()
            classifier: Any = cast(Any, adapted).get_base_model() if hasattr(adapted, "get_base_model") else adapted
            updates = self._updates(classifier.base_model)
            if updates is None:
                return None
            computed = _ComputedStates(getattr(classifier.base_model, _POOLER, None))
            setattr(classifier, classifier.base_model_prefix, computed)
            head = method.merge(adapted).requires_grad_(False).eval().to(self._device)
        return AdaptedTask(updates, head, reading)

    def __call__(self, items: Sequence[tuple[AdaptedTask, str]]) -> list[np.ndarray]:
        """The logits of each text for its task, (labels,) float32."""
        numbers_of: dict[AdaptedTask, list[int]] = {}
        for number, (task, _) in enumerate(items):
            numbers_of.setdefault(task, []).append(number)
        tokens, place, lengths = {}, [0] * len(items), [0] * len(items)
        for task, numbers in numbers_of.items():
            tokens[task] = read_texts([items[number][1] for number in numbers], self._tokenizer, task.reading)
            for index, (number, length) in enumerate(
                zip(numbers, np.diff(tokens[task].tokens.offsets).tolist(), strict=True)
            ):
                place[number], lengths[number] = index, length
        logits: dict[int, np.ndarray] = {}
        for batch in batches_by_length(lengths, budget=self._batch_tokens):
            together: dict[AdaptedTask, list[int]] = {}
            for number in batch:
                together.setdefault(items[number][0], []).append(number)
            parts = {task: tokens[task].batch([place[one] for one in numbers]) for task, numbers in together.items()}
            for numbers, scores in zip(together.values(), self._classify(parts), strict=True):
                logits.update(zip(numbers, scores, strict=True))
        return [logits[number] for number in range(len(items))]

    @torch.inference_mode()
    def _classify(self, parts: dict[AdaptedTask, Batch]) -> list[np.ndarray]:
        """The logits (documents, labels) of each task's batch, after one pass for all of them."""
        hidden = self._states(parts)  # (rows, tokens, hidden)
        logits, start = [], 0
        for task, batch in parts.items():
            rows, width = batch.input_ids.shape
            head: Any = task.head
            head.base_model.states = hidden[start : start + rows, :width]
            batch = batch.to(self._device)
            documents = {} if batch.documents is None else {"documents": batch.documents}
            output = head(input_ids=batch.input_ids, attention_mask=batch.attention_mask, **documents)
            head.base_model.states = None
            logits.append(output.logits.float().cpu().numpy())
            start += rows
        return logits

    def _states(self, parts: dict[AdaptedTask, Batch]) -> Tensor:
        """The last hidden states of all rows, (rows, tokens, hidden) float32, those of padding without meaning."""
        batches = list(parts.values())
        width = max(batch.input_ids.shape[1] for batch in batches)
        pad = self._tokenizer.pad_token_id
        input_ids = torch.cat([_padded(batch.input_ids, width, pad) for batch in batches]).to(self._device)
        mask = torch.cat([_padded(batch.attention_mask, width, 0) for batch in batches]).to(self._device)
        adapters = [task.updates for task in parts]
        if self._fast is None:
            with (
                self._mix.of([len(batch.input_ids) for batch in batches], adapters),
                torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._compute.precision == "bfloat16"),
            ):
                return cast(Tensor, self.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state).float()
        with self._mix.of([int(batch.attention_mask.sum()) for batch in batches], adapters):
            states = self._fast(input_ids, mask, lengths=mask.sum(dim=1).tolist()).float()  # (tokens, hidden)
        hidden = states.new_zeros(*input_ids.shape, states.shape[-1])
        hidden[mask.bool()] = states
        return hidden

    def _updates(self, encoder: nn.Module) -> dict[str, Update] | None:
        """The updates of an adapted encoder's layers by their names; None if PEFT does more than that."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        found: dict[str, Update] = {}
        for name, module in encoder.named_modules():
            if not isinstance(module, BaseTunerLayer) or name.startswith(f"{_POOLER}."):  # the pooler goes to the head
                continue
            factors = lora_update(module)
            if factors is None:
                return None
            a, b = (factor.to(self._device, torch.float32).contiguous() for factor in factors)
            found[name] = Update(a, b)
        return found

    def _placeholders(self) -> dict[str, Tensor]:
        """The encoder's weights by name, of which only those outside the pass are real; the others take no memory."""
        empty = {name: torch.zeros((), dtype=dtype).expand(shape) for name, (shape, dtype) in self._shapes.items()}
        return empty | {name: tensor.clone() for name, tensor in self._outside.items()}


class _ComputedStates(nn.Module):
    """Stands in for an encoder in its classifier: gives the `states` (rows, tokens, hidden) that were set before."""

    def __init__(self, pooler: nn.Module | None) -> None:
        super().__init__()
        self.states: Tensor | None = None
        if pooler is not None:
            self.add_module(_POOLER, pooler)

    def forward(self, *_: Any, **__: Any) -> BaseModelOutputWithPooling:
        """The states, and what the pooler makes of them."""
        pooler = getattr(self, _POOLER, None)
        return BaseModelOutputWithPooling(
            last_hidden_state=self.states, pooler_output=None if pooler is None else pooler(self.states)
        )


def _outside_encoder(classifier: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of the checkpoint's tensors that a head reads: its own layers, and the pooler's."""
    prefix = f"{classifier.model.base_model_prefix}."
    used = {
        parameter.data_ptr()
        for name, parameter in classifier.model.named_parameters()
        if not name.startswith(prefix) or name.startswith(f"{prefix}{_POOLER}.")
    }
    return {name: tensor for name, tensor in weights.items() if tensor.data_ptr() in used}


def _padded(rows: Tensor, width: int, value: int) -> Tensor:
    return functional.pad(rows, (0, width - rows.shape[1]), value=value)


def share_weights(model: nn.Module, shared: SharedEncoder) -> int:
    """Let a model's encoder use the shared weights wherever its own are equal to them; returns the bytes that it saves.

    Args:
        model: A classifier whose encoder may differ in some weights, such as one with merged updates or other biases.
        shared: Its base encoder, in the same precision.
    """
    theirs = {name.replace(".base_layer.", "."): tensor for name, tensor in shared.encoder.named_parameters()}
    saved = 0
    for name, parameter in cast(Any, model).base_model.named_parameters():
        other = theirs.get(name)
        if other is None or other.dtype != parameter.dtype or other.shape != parameter.shape:
            continue
        if other.device == parameter.device and torch.equal(other, parameter):
            parameter.data = other.data
            saved += parameter.nbytes
    return saved
