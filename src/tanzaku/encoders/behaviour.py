"""Does an encoder compute what is assumed of it? Its files don't say, so it is made to work when it is loaded."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tanzaku.errors import EncoderError

# The shortest `max_tokens` of a study is 8, so every usable encoder has as many positions.
_TEXT_TOKENS, _NEIGHBOUR_TOKENS = 3, 8
# Of the root mean square of the states. Rounding in float32, which depends on the batch's shape, stays under 1e-4 in 24
# layers with states that are a hundred times the others; padding that is not masked changes states by some percent.
_TOLERANCE = 1e-3
# Named in a message at most.
_NAMED = 3
# Not weights: they follow from the configuration, and older versions of transformers saved them.
_BUFFERS = ("position_ids", "token_type_ids", "inv_freq")


def encoder_checks(
    model: PreTrainedModel, *, unused: Sequence[str], where: str, reads_cls: bool = False
) -> dict[str, Callable[[], str]]:
    """Checks that look at the checkpoint's tensors, and make the encoder read two short texts.

    Args:
        model: A model with an encoder as its `base_model`, on the CPU, in evaluation mode, float32.
        unused: What `unused_tensors` says.
        where: Begins the messages: the encoder.
        reads_cls: Whether the model's logits must depend on its encoder's first state only, as `pooling = "cls"` says.

    Returns:
        The checks by name, to be done in this order: each says what it saw, or raises an `EncoderError`. A part of the
        encoder is not used, its states are not finite or depend on the other texts of a batch, or the classifier reads
        other states than the first one.
    """
    checks = {
        "tensors": lambda: _check_tensors(model, unused, where),
        "batches": lambda: _check_batches(model, where),
    }
    if reads_cls:
        checks["pooling"] = lambda: _check_pooling(model, where)
    return checks


def unused_tensors(model: PreTrainedModel, unexpected: Iterable[str]) -> tuple[str, ...]:
    """The encoder's own tensors among those that a checkpoint has and `model` does not, in order.

    A head that the model does not have is none of the encoder's, nor is a pooler. A name whose last part begins with
    "_", as in mDeBERTa-v3's checkpoint, is a copy of another tensor.

    Args:
        model: A model with an encoder as its `base_model`.
        unexpected: Names, with the encoder's prefix (`bert.`) or, where a bare encoder was saved, without it.
    """
    prefix = f"{model.base_model_prefix}."
    parts = {name.partition(".")[0] for name, _ in model.base_model.named_parameters()}

    def is_own(name: str) -> bool:
        path = name.removeprefix(prefix).split(".")
        left_out = "pooler" in path or path[-1] in _BUFFERS or path[-1].startswith("_")
        return (name.startswith(prefix) or path[0] in parts) and not left_out

    return tuple(sorted(filter(is_own, unexpected)))


def _check_tensors(model: PreTrainedModel, unused: Sequence[str], where: str) -> str:
    if unused:
        names = ", ".join(unused[:_NAMED]) + (", …" if len(unused) > _NAMED else "")
        raise EncoderError(
            f"{where}: {len(unused)} of the encoder's own tensors would not be used ({names}); {_remedy(model, unused)}"
        )
    return "all of the encoder's tensors are used"


def _remedy(model: PreTrainedModel, unused: Sequence[str]) -> str:
    positions = getattr(model.config, "position_embedding_type", None) or "absolute"
    if positions != "absolute":
        return (
            f'config.json says "position_embedding_type": "{positions}", which this version of transformers does not '
            "have for this architecture, so choose another encoder"
        )
    layers = model.config.num_hidden_layers
    numbers = [int(part) for name in unused for part in name.split(".") if part.isdecimal()]
    if numbers and min(numbers) >= layers:
        return (
            f'config.json says "num_hidden_layers": {layers}, and the weights have {max(numbers) + 1} layers: correct '
            "the number, or save the smaller encoder with transformers' save_pretrained if you want to leave out the "
            "others"
        )
    return (
        "config.json describes another model, or this version of transformers lacks a part of this one: fetch both "
        "files from one place, or choose another encoder"
    )


def _check_batches(model: PreTrainedModel, where: str) -> str:
    """The same text by itself, and in a batch with a longer one."""
    text, neighbour = _ids(model, _TEXT_TOKENS), _ids(model, _NEIGHBOUR_TOKENS)
    padding = torch.full((_NEIGHBOUR_TOKENS - _TEXT_TOKENS,), model.config.pad_token_id or 0)
    batch = torch.stack([torch.cat([text, padding]), neighbour])  # (2, tokens)
    mask = torch.ones_like(batch)
    mask[0, _TEXT_TOKENS:] = 0
    alone = _states(model, text[None], torch.ones_like(text[None]), where)[0]  # (text's tokens, hidden)
    together = _states(model, batch, mask, where)  # (2, tokens, hidden)
    if not (alone.isfinite().all() and together.isfinite().all()):
        raise EncoderError(
            f"{where}: its hidden states are infinite or not numbers, though its weights are finite; "
            "the weights are damaged, or config.json describes another model, so fetch both again"
        )
    scale = alone.square().mean().sqrt().item()
    difference = (together[0, : len(alone)] - alone).abs().max().item()
    if difference > _TOLERANCE * scale:
        raise EncoderError(
            f"{where}: a text's hidden states depend on the longer texts of its batch, by {difference / scale:.2g} of "
            f"their size, because the architecture {model.config.model_type!r} does not mask padding everywhere, and "
            "so would its label; choose an encoder that does, such as a bert, roberta, deberta-v2 or modernbert"
        )
    return "a text's hidden states are finite, and the same by itself and in a batch with a longer one"


def _check_pooling(model: PreTrainedModel, where: str) -> str:
    """Whether the logits change with the states after the first one."""
    ids = _ids(model, _NEIGHBOUR_TOKENS)[None]
    before = _logits(model, ids, where)
    with _only_first_state(model):
        after = _logits(model, ids, where)
    if (before - after).abs().max() > _TOLERANCE * before.abs().max():
        raise EncoderError(
            f'{where}: with pooling = "cls", the classifier that transformers has for the architecture '
            f'{model.config.model_type!r} reads other tokens than [CLS]; set encoder.pooling to "mean" or "mean+max"'
        )
    return 'with pooling = "cls", the classifier reads [CLS] only'


@contextmanager
def _only_first_state(model: PreTrainedModel) -> Any:
    """While this lasts, the encoder's last hidden states are zero but for the first."""

    def keep_first(module: Any, inputs: Any, output: Any) -> Any:
        del module, inputs
        kept = torch.zeros_like(output.last_hidden_state)
        kept[:, 0] = output.last_hidden_state[:, 0]
        output.last_hidden_state = kept
        return output

    hook = model.base_model.register_forward_hook(keep_first)
    try:
        yield
    finally:
        hook.remove()


def _ids(model: PreTrainedModel, tokens: int) -> Tensor:
    """(tokens,) int64: from the whole vocabulary, but for the padding."""
    rows, pad = model.config.vocab_size, model.config.pad_token_id
    choices = [row for row in range(rows) if row != pad]
    return torch.tensor([choices[(place + 1) * len(choices) // (tokens + 1)] for place in range(tokens)])


def _states(model: PreTrainedModel, ids: Tensor, mask: Tensor, where: str) -> Tensor:
    """The last hidden states, (rows, tokens, hidden) float32."""
    return cast(Tensor, _forward(model.base_model, ids, mask, where).last_hidden_state)


def _logits(model: PreTrainedModel, ids: Tensor, where: str) -> Tensor:
    """(rows, labels) float32."""
    return cast(Tensor, _forward(model, ids, torch.ones_like(ids), where).logits)


def _forward(model: Any, ids: Tensor, mask: Tensor, where: str) -> Any:
    try:
        # Not inference_mode: a table that the model keeps from its first call could never be trained with.
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=mask, return_dict=True)
    except Exception as error:  # each architecture fails in its own way
        raise EncoderError(
            f"{where}: it can't compute a text of {ids.shape[1]} tokens ({type(error).__name__}: {error}); "
            "choose another encoder, such as a bert, roberta, deberta-v2 or modernbert"
        ) from error
