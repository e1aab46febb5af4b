"""The fast path for BERT: what transformers computes, without what is not needed.

- The documents of a batch lie end to end, so nothing is computed for padding, but for a few rows at a batch's end.
- Frozen weights stay in bfloat16 where the hardware multiplies it, trained ones in float32, and sums are kept wide.
- A head that reads [CLS] alone needs the last layer for [CLS] alone: its query, and everything after attention.
- Dropout is drawn cheaply, and LoRA without dropout is one matrix product.

In float32 the logits and gradients equal those of transformers up to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertForSequenceClassification, BertModel, PretrainedConfig

from tanzaku.encoders.attention import attend
from tanzaku.encoders.dropout import dropout
from tanzaku.encoders.linear import FastLinear, convert_frozen, fast_linear, has_plain_lora, plain_norm
from tanzaku.encoders.pooled import PooledClassifier, mean_of_windows
from tanzaku.encoders.prefix import Prefix, prefix_of
from tanzaku.encoders.shapes import batch_rows

Precision = Literal["float32", "bfloat16"]


class Rows(Protocol):
    """A batch of padded rows on the model's device; `tanzaku.training.batches.Batch` is one.

    `input_ids` and `attention_mask` (rows, tokens), padded on the right; `documents` (rows,) as `PooledClassifier`
    takes it, or None.
    """

    @property
    def input_ids(self) -> Tensor:
        """(rows, tokens) int64."""
        ...

    @property
    def attention_mask(self) -> Tensor:
        """(rows, tokens), 0 for padding."""
        ...

    @property
    def documents(self) -> Tensor | None:
        """(rows,) int64, or None."""
        ...


@dataclass(frozen=True)
class _Layer:
    query: FastLinear
    key: FastLinear
    value: FastLinear
    attended: FastLinear
    attention_norm: nn.LayerNorm
    intermediate: FastLinear
    activation: nn.Module
    output: FastLinear
    output_norm: nn.LayerNorm
    attention_dropout: nn.Dropout
    hidden_dropout: nn.Dropout

    def lower(self) -> None:
        """Convert the frozen weights in place."""
        for linear in (self.query, self.key, self.value, self.attended, self.intermediate, self.output):
            linear.lower()


class FastEncoder:
    """Computes the hidden states of a BERT on its device; see `fast_encoder`."""

    def __init__(
        self, encoder: BertModel, layers: Sequence[_Layer], *, prefix: Prefix | None, dtype: torch.dtype
    ) -> None:
        self._embeddings, self._layers, self._prefix, self._dtype = encoder.embeddings, layers, prefix, dtype
        self._heads = encoder.config.num_attention_heads
        self._embeddings_norm = cast(nn.LayerNorm, plain_norm(encoder.embeddings.LayerNorm))

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        lengths: Sequence[int],
        positions: Tensor | None = None,
        first_alone: bool = False,
    ) -> Tensor:
        """The last hidden states of the tokens end to end (tokens, hidden), in the precision that this was made for.

        Args:
            input_ids: (rows, tokens) int64.
            attention_mask: (rows, tokens), 0 for padding, which is on the right.
            lengths: Tokens of each row without padding.
            positions: (rows, tokens) int64: the places in the position table, if not 0, 1, 2 and so on.
            first_alone: Only each row's first token is wanted: (rows, hidden).
        """
        present = _spread(attention_mask.flatten().nonzero().flatten())  # of the flattened rows
        hidden = self._embed(input_ids, present, positions)
        last = len(self._layers) - 1
        for number in range(last):
            hidden = self._run_layer(number, hidden, hidden, lengths=lengths, query_lengths=lengths)
        if not first_alone:
            hidden = self._run_layer(last, hidden, hidden, lengths=lengths, query_lengths=lengths)
            return hidden[: sum(lengths)]
        starts = _spread(torch.tensor([0, *lengths[:-1]]).cumsum(0).to(hidden.device))
        firsts = self._run_layer(last, hidden[starts], hidden, lengths=lengths, query_lengths=[1] * len(lengths))
        return firsts[: len(lengths)]

    def states(
        self, input_ids: Tensor, attention_mask: Tensor, *, lengths: Sequence[int], after: Sequence[int]
    ) -> list[Tensor]:
        """The hidden states (tokens, hidden) after each of the layers `after`, which are ascending and counted from 0.

        The other arguments are those of a call.
        """
        hidden = self._embed(input_ids, _spread(attention_mask.flatten().nonzero().flatten()), None)
        wanted: list[Tensor] = []
        for number in range(after[-1] + 1):
            hidden = self._run_layer(number, hidden, hidden, lengths=lengths, query_lengths=lengths)
            if number in after:
                wanted.append(hidden[: sum(lengths)])
        return wanted

    def _embed(self, input_ids: Tensor, present: Tensor, positions: Tensor | None) -> Tensor:
        """(tokens, hidden) for the places `present` (tokens,) of the flattened `input_ids`."""
        parts: Any = self._embeddings
        places = present % input_ids.shape[1] if positions is None else positions.flatten()[present]
        words = parts.word_embeddings(input_ids.flatten()[present])  # (tokens, hidden)
        types = parts.token_type_embeddings.weight[0].to(words.dtype)
        summed = words + types + parts.position_embeddings(places).to(words.dtype)
        return _drop(_normalise(summed, self._embeddings_norm).to(self._dtype), parts.dropout)

    def _run_layer(
        self,
        number: int,
        queries: Tensor,
        hidden: Tensor,
        *,
        lengths: Sequence[int],
        query_lengths: Sequence[int],
    ) -> Tensor:
        """One layer for `queries` (queries, hidden), which look at all of `hidden` (tokens, hidden)."""
        layer = self._layers[number]
        drop = layer.attention_dropout
        key, value = layer.key(hidden), layer.value(hidden)
        if self._prefix is not None:
            key = _after(self._prefix.keys[number].to(key.dtype), key, lengths)
            value = _after(self._prefix.values[number].to(value.dtype), value, lengths)
            lengths = [self._prefix.keys.shape[1] + length for length in lengths]
        mixed = attend(
            layer.query(queries),
            key,
            value,
            heads=self._heads,
            lengths=lengths,
            query_lengths=query_lengths,
            dropout=drop.p if drop.training else 0.0,
        )
        attended = _normalise(_drop(layer.attended(mixed), layer.hidden_dropout) + queries, layer.attention_norm)
        inner = layer.activation(layer.intermediate(attended))  # (queries, intermediate)
        return _normalise(_drop(layer.output(inner), layer.hidden_dropout) + attended, layer.output_norm)


class FastForward:
    """Computes logits (documents, labels), float32, from a model and a batch on its device; see `fast_forward`."""

    def __init__(self, classifier: Any, encoder: FastEncoder) -> None:
        self._classifier, self._encoder = classifier, encoder
        pooling = classifier.pooling if isinstance(classifier, PooledClassifier) else "cls"
        self._pooling, self._reads_cls_alone = pooling, pooling == "cls"

    def __call__(self, model: nn.Module, batch: Rows) -> Tensor:
        """The logits of `model`, which must be the one that this was made for."""
        return self.classify(self.features(batch), batch)

    def features(self, batch: Rows) -> Tensor:
        """What the head reads of each document, (documents, features) float32."""
        attention_mask = _not_empty(batch.attention_mask)
        lengths = attention_mask.sum(dim=1).tolist()
        hidden = self._encoder(batch.input_ids, attention_mask, lengths=lengths, first_alone=self._reads_cls_alone)
        features = self._pool(hidden.float(), lengths)  # (rows, features)
        return features if batch.documents is None else mean_of_windows(features, batch.documents)

    def classify(self, features: Tensor, batch: Rows) -> Tensor:
        """The logits (documents, labels) of documents with these `features`."""
        if isinstance(self._classifier, PooledClassifier):
            return self._classifier.classify(features, batch.input_ids, batch.attention_mask, batch.documents)
        return cast(Tensor, self._classifier.classifier(self._classifier.dropout(features)))

    def has_fixed_features(self) -> bool:
        """Whether a document's features are the same at every step: nothing below the head is trained or dropped."""
        encoder = self._classifier.base_model
        trained = any(parameter.requires_grad for parameter in encoder.parameters())
        return not trained and all(part.p == 0 for part in encoder.modules() if isinstance(part, nn.Dropout))

    def _pool(self, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        """(rows, features) float32."""
        if self._reads_cls_alone:
            pooler = getattr(self._classifier.base_model, "pooler", None)
            return hidden if pooler is None else cast(Tensor, pooler(hidden[:, None]))
        rows = hidden.split(list(lengths))
        mean = torch.stack([row.mean(dim=0) for row in rows])
        if self._pooling == "mean":
            return mean
        return torch.cat([mean, torch.stack([row.amax(dim=0) for row in rows])], dim=-1)


def fast_forward(model: nn.Module, *, precision: Precision) -> FastForward | None:
    """A fast forward for `model`; None where the model is not of the kind that it can do.

    That kind is BERT with transformers' own sequence classification head or a `PooledClassifier`, plain or with PEFT's
    LoRA (on word embeddings too, at any scale, but not DoRA), AdaLoRA, (IA)³ or LayerNorm tuning, or with bottleneck
    adapters or a prefix. Its frozen weights are converted to `precision` in place, so make this after freezing; a model
    of another kind is left as it was.

    Args:
        model: In training mode or not; both are served.
        precision: Of the matrix products and of what flows between layers. The head is always float32.
    """
    classifier: Any = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
    if not isinstance(classifier, BertForSequenceClassification | PooledClassifier):
        return None
    encoder = fast_encoder(classifier.base_model, precision=precision)
    return None if encoder is None else FastForward(classifier, encoder)


def fast_encoder(model: nn.Module, *, precision: Precision) -> FastEncoder | None:
    """The hidden states of a BERT without its head; None where it is not of the kind of `fast_forward`.

    Its frozen weights are converted to `precision` in place, and what flows between its layers is in `precision`.
    """
    if type(model) is not BertModel or not is_plain_bert(model.config):
        return None
    encoder: Any = model
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    prefix = prefix_of(encoder)
    if len(encoder._forward_pre_hooks) != (prefix is not None):  # somebody else does something before its forward
        return None
    found = [_layer(layer, dtype) for layer in encoder.encoder.layer]
    layers = [layer for layer in found if layer is not None]
    if len(layers) < len(found) or not _embeddings_are_plain(encoder.embeddings):
        return None
    # Only now is it certain that nobody else computes with these weights.
    for layer in layers:
        layer.lower()
    if dtype != torch.float32:
        # LoRA's layer has no parameters of its own, so the table to which it adds stays in float32: the sum is rounded
        # once, since an update that is small compared with the table would vanish if the table were rounded first.
        for table in (encoder.embeddings.word_embeddings, encoder.embeddings.position_embeddings):
            convert_frozen(table, dtype=dtype)
    return FastEncoder(encoder, layers, prefix=prefix, dtype=dtype)


def is_plain_bert(config: PretrainedConfig) -> bool:
    """Whether an encoder of this configuration, before any method has changed it, is one for the fast path."""
    return config.model_type == "bert" and not config.is_decoder and config.num_hidden_layers > 0


def _embeddings_are_plain(embeddings: Any) -> bool:
    from peft.tuners.lora import Embedding as LoraEmbedding

    words = embeddings.word_embeddings
    if type(words) is LoraEmbedding and has_plain_lora(words):
        words = words.base_layer  # PEFT's own module adds the update, a matrix product of so many rows as there are ids
    tables = (words, embeddings.position_embeddings, embeddings.token_type_embeddings)
    return all(type(table) is nn.Embedding for table in tables) and plain_norm(embeddings.LayerNorm) is not None


def _layer(layer: Any, dtype: torch.dtype) -> _Layer | None:
    attention = layer.attention
    modules = (
        attention.self.query,
        attention.self.key,
        attention.self.value,
        attention.output.dense,
        layer.intermediate.dense,
        layer.output.dense,
    )
    attention_norm, output_norm = plain_norm(attention.output.LayerNorm), plain_norm(layer.output.LayerNorm)
    linear = [fast_linear(module, dtype=dtype) for module in modules]
    if None in linear or attention_norm is None or output_norm is None:
        return None
    query, key, value, attended, intermediate, output = cast(list[FastLinear], linear)
    return _Layer(
        query=query,
        key=key,
        value=value,
        attended=attended,
        attention_norm=attention_norm,
        intermediate=intermediate,
        activation=layer.intermediate.intermediate_act_fn,
        output=output,
        output_norm=output_norm,
        attention_dropout=attention.self.dropout,
        hidden_dropout=layer.output.dropout,
    )


def _drop(x: Tensor, module: nn.Dropout) -> Tensor:
    return dropout(x, probability=module.p, training=module.training)


def _not_empty(attention_mask: Tensor) -> Tensor:
    """The mask (rows, tokens) with the first token of each row of nothing but padding: of none there is no mean."""
    if bool(attention_mask.any(dim=1).all()):
        return attention_mask
    first = torch.arange(attention_mask.shape[1], device=attention_mask.device) == 0  # (tokens,)
    empty = ~attention_mask.any(dim=1, keepdim=True)  # (rows, 1)
    return torch.where(empty & first, 1, attention_mask)


def _spread(indices: Tensor) -> Tensor:
    """Indices (rows,) and, on a CPU, zeros up to `batch_rows`: so some rows are taken again, of which nothing is used
    and to which no gradient goes."""
    if indices.device.type != "cpu":
        return indices
    return functional.pad(indices, (0, batch_rows(len(indices)) - len(indices)))


def _after(prefix: Tensor, rows: Tensor, lengths: Sequence[int]) -> Tensor:
    """Each document's rows after those of the prefix (length, hidden): (documents * length + tokens, hidden)."""
    documents = rows[: sum(lengths)].split(list(lengths))
    return torch.cat([part for document in documents for part in (prefix, document)])


def _normalise(x: Tensor, module: nn.LayerNorm) -> Tensor:
    """Layer normalisation in `x`'s dtype with the module's own weights."""
    if x.dtype == module.weight.dtype or x.device.type == "cpu":  # the CPU's kernel takes float32 weights with bfloat16
        return functional.layer_norm(x, module.normalized_shape, module.weight, module.bias, module.eps)
    wide = functional.layer_norm(x.float(), module.normalized_shape, module.weight, module.bias, module.eps)
    return wide.to(x.dtype)
