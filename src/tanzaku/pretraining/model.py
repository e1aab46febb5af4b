"""The encoder with its masked-language-model head: new, or loaded with room for longer sequences."""

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, PretrainedConfig, PreTrainedModel

from tanzaku.compute import Compute
from tanzaku.encoders.behaviour import encoder_checks, unused_tensors
from tanzaku.encoders.config import dropout_set, restore_dropout
from tanzaku.encoders.fast import FastEncoder, fast_encoder
from tanzaku.encoders.load import EncoderSource, load_config, max_positions
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.shapes import batch_rows
from tanzaku.encoders.weights import read_weights
from tanzaku.errors import EncoderError
from tanzaku.pretraining.cross_entropy import cross_entropy

_PLAIN = Compute(device="cpu", precision="float32", attention="eager")
_POSITIONS = "position_embeddings.weight"


def new_encoder(
    *,
    layers: int,
    hidden: int,
    heads: int,
    intermediate: int,
    vocabulary_size: int,
    positions: int,
    initial_std: float,
    tie: bool,
    dropout: float,
    pad_id: int,
    seed: int,
) -> PreTrainedModel:
    """A BERT (Devlin et al. 2019) with random float32 weights from `seed`; the caller's random state is left alone."""
    config = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=positions,
        initializer_range=initial_std,
        tie_word_embeddings=tie,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=pad_id,
        use_cache=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return BertForMaskedLM(config)


@torch.no_grad()
def start_from_sinusoids(model: PreTrainedModel, *, root_mean_square: float) -> None:
    """Set a new BERT's position vectors to sines and cosines (Vaswani et al. 2017, section 3.5), to be trained on.

    With them a shift by some positions is a linear map from the start, so heads that look at a neighbour are soon
    found; from random vectors this took thousands of steps.
    """
    table = model.base_model.embeddings.position_embeddings.weight  # (positions, hidden)
    positions, hidden = table.shape
    rates = 10_000 ** (-torch.arange(0, hidden, 2) / hidden)  # (hidden / 2,)
    angles = torch.arange(positions)[:, None] * rates  # (positions, hidden / 2)
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :hidden]
    table.copy_(waves * (root_mean_square * math.sqrt(2)))  # a wave's own is 1 / √2


def load_encoder(source: EncoderSource, *, max_tokens: int, dropout: float, seed: int) -> PreTrainedModel:
    """An encoder with its head, float32, on the CPU; its position table grows where `max_tokens` asks for more.

    Args:
        source: The encoder.
        max_tokens: Tokens of the sequences to come.
        dropout: In hidden states and attention while training; the configuration keeps its own for fine-tuning.
        seed: Of a head that the checkpoint may lack.

    Raises:
        EncoderError: The weights are damaged or lack a part of the encoder, the architecture has no such head, its
            positions can't grow, or the encoder does not compute what is assumed of it; see `encoder_checks`.
    """
    config = load_config(source)
    weights = read_weights(source)
    limit = max_positions(config)
    if limit is not None and max_tokens > limit:
        weights = _grow(config, weights, limit=limit, max_tokens=max_tokens, name=source.name)
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.default_generator.manual_seed(seed)
        try:
            # The class's own from_pretrained: the automatic one needs a path.
            kind = type(_bare(config))
            with dropout_set(config, hidden=dropout, attention=dropout):
                model, info = kind.from_pretrained(
                    None, config=config, state_dict=weights, dtype=torch.float32, output_loading_info=True
                )
        except (RuntimeError, ValueError, KeyError) as error:
            raise EncoderError(
                f"encoder {source.name!r} can't be loaded with a masked-language-model head: {error}"
            ) from error
    prefix = f"{model.base_model_prefix}."
    if holes := sorted(key for key in info["missing_keys"] if key.startswith(prefix) and ".pooler." not in key):
        raise EncoderError(f"encoder {source.name!r}: the weights lack {holes[0]}; download the encoder again")
    unused = unused_tensors(model, info["unexpected_keys"])
    for check in encoder_checks(model, unused=unused, where=f"encoder {source.name!r}").values():
        check()
    restore_dropout(model.config, config)
    return model


def grown_positions(table: Tensor, *, reserved: int, positions: int) -> Tensor:
    """A table with `positions` rows after its `reserved` ones, in which the learned rows come again and again.

    Rows that start from random numbers threw the loss of a trained encoder far back, and a small learning rate did
    not mend it; copies keep what was learned.

    Args:
        table: (reserved + learned, hidden), any dtype.
        reserved: Rows at the start that stand for no position (RoBERTa has two).
        positions: Positions wanted.

    Returns:
        (reserved + positions, hidden), in the table's dtype.
    """
    learned = table[reserved:]
    return torch.cat([table[:reserved], learned[torch.arange(positions) % len(learned)]])


class MaskedPredictor:
    """The model's predictions where tokens are masked, and nothing of what they do not need.

    The hidden states are gathered before the head, so that the projection onto the vocabulary, the largest matrix of
    a small encoder, is computed for the masked tokens alone.

    Args:
        model: With its masked-language-model head.
        compute: How; its fast path is there for a BERT alone.

    Raises:
        EncoderError: The fast path is asked for, and can't compute this model.
    """

    def __init__(self, model: PreTrainedModel, compute: Compute = _PLAIN) -> None:
        self.model, self._compute = model, compute
        self._positions: Tensor | None = None
        self._encode: FastEncoder | None = None
        if compute.path == "fast":
            self._encode = fast_encoder(model.base_model, precision=compute.precision)
            if self._encode is None:
                raise EncoderError("the fast path can't compute this encoder; pretrain it with --no-fast")
        else:
            model.base_model.register_forward_hook(self._gather)

    def logits(self, input_ids: Tensor, positions: Tensor, shifts: Tensor | None = None) -> Tensor:
        """(masked, vocabulary) for `input_ids` (batch, seq) int64 at `positions` (masked,) of the flattened batch.

        `shifts` (batch,) int64 moves each sequence along the position table, but for its first token, which is [CLS]
        and stays where a document's stands.
        """
        return self._predict(input_ids, positions, shifts)[: len(positions)]

    def loss(self, input_ids: Tensor, positions: Tensor, labels: Tensor, shifts: Tensor | None = None) -> Tensor:
        """The mean cross-entropy over the masked tokens, in nats, float32, ()."""
        return cross_entropy(self._predict(input_ids, positions, shifts), labels)

    def _predict(self, input_ids: Tensor, positions: Tensor, shifts: Tensor | None) -> Tensor:
        """The logits (rows, vocabulary), with so many rows after those of the masked tokens that few shapes occur."""
        spare = batch_rows(len(positions)) - len(positions)
        positions = nn.functional.pad(positions, (0, spare))  # the first token, once more
        places = None if shifts is None else _moved(input_ids.shape[1], shifts)
        if self._encode is None:
            return self._transformers_logits(input_ids, positions, places)
        rows, tokens = input_ids.shape
        everywhere = torch.ones_like(input_ids)
        hidden = self._encode(input_ids, everywhere, lengths=[tokens] * rows, positions=places)  # (batch * seq, hidden)
        with self._compute.autocast():
            logits: Tensor = cast(Any, self.model).cls(hidden[positions])
        return logits

    def _transformers_logits(self, input_ids: Tensor, positions: Tensor, places: Tensor | None) -> Tensor:
        self._positions = positions
        moved = {} if places is None else {"position_ids": places}
        try:
            with self._compute.autocast():
                logits: Tensor = self.model(input_ids=input_ids, **moved).logits[0]  # (masked, vocabulary)
            return logits
        finally:
            self._positions = None

    def _gather(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        del module, inputs
        if self._positions is not None:
            hidden = output.last_hidden_state.flatten(0, 1)  # (batch * seq, hidden)
            output.last_hidden_state = hidden[self._positions][None]  # (1, masked, hidden)
        return output


def _moved(tokens: int, shifts: Tensor) -> Tensor:
    """(batch, tokens) int64: the places of the position table."""
    places = torch.arange(tokens, device=shifts.device) + shifts[:, None]
    places[:, 0] = 0
    return places


def _bare(config: PretrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForMaskedLM.from_config(config, trust_remote_code=False)


def _grow(
    config: PretrainedConfig, weights: dict[str, Tensor], *, limit: int, max_tokens: int, name: str
) -> dict[str, Tensor]:
    """Weights with `max_tokens` positions; sets the configuration's number of them."""
    tables = [key for key in weights if key.endswith(_POSITIONS)]
    if not tables:
        raise EncoderError(
            f"max_tokens = {max_tokens} is more than the {limit} positions of the encoder {name!r}, and it has no "
            f"position table that could grow; set max_tokens to {limit} or less"
        )
    reserved = config.max_position_embeddings - limit
    config.max_position_embeddings = reserved + max_tokens
    grown = {key: grown_positions(weights[key], reserved=reserved, positions=max_tokens) for key in tables}
    # A saved list of the positions' numbers, which older checkpoints have, would be too short.
    kept = {key: tensor for key, tensor in weights.items() if not key.endswith("embeddings.position_ids")}
    return kept | grown
