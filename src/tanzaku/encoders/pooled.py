"""A classifier on pooled hidden states: means and maxima over tokens, and documents read in several windows.

The plain sequence classifier of transformers looks at one row's [CLS] alone. Everything else is here: the same encoder
under the same name in the model (`bert.`, `roberta.`, …), another way from its hidden states to a document's features,
and one linear layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, MODEL_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from tanzaku.encoders.reading import LONG_TEXTS, POOLINGS, LongText, Pooling
from tanzaku.encoders.terms import TermHead
from tanzaku.errors import EncoderError

# transformers' own classifiers of these give the encoder a pooler that the head does not read.
UNREAD_POOLERS = ("big_bird",)

# Where `config.json` says how a classifier reads and pools.
_CONFIG_KEY = "tanzaku"
# Where ModernBERT's says what transformers' own classifier of it reads: "cls" or "mean".
_OWN_POOLING = "classifier_pooling"
_EUROBERT = "eurobert"
# The dropout before the classifier, by the names that BERT's family has for it.
_DROPOUTS = (
    "classifier_dropout",
    "classifier_dropout_prob",
    "cls_dropout",
    "seq_classif_dropout",
    "hidden_dropout_prob",
)


class PooledClassifier(PreTrainedModel):
    """An encoder, a pooling, dropout, and a linear layer onto the labels.

    A window's features are, for "mean", the mean of its tokens' last hidden states; for "mean+max" that mean and the
    maximum of each dimension, side by side; for "cls" what the encoder's own pooler makes of [CLS] (for BERT a dense
    layer and tanh), or [CLS] itself where the architecture's encoder has none. [CLS] and [SEP] count as tokens, padding
    never does. A document's features are the plain mean over its windows: `pieces` makes their lengths differ by one
    token at most, so weighting them by length would change next to nothing, and for the maximum and [CLS] a weight by
    length has no meaning.

    The classes that are instantiated come from `pooled_class`.
    """

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        self.pooling, _ = reading_of(config)
        self.num_labels = config.num_labels
        architecture = MODEL_MAPPING[type(config)]
        # A pooler that nothing reads would be counted, trained for nothing and saved.
        choice = "add_pooling_layer" in inspect.signature(architecture.__init__).parameters
        setattr(
            self,
            self.base_model_prefix,
            architecture(config, **({"add_pooling_layer": self.pooling == "cls"} if choice else {})),
        )
        self.dropout = nn.Dropout(_dropout(config))
        features = config.hidden_size * (2 if self.pooling == "mean+max" else 1)
        self.classifier = nn.Linear(features, config.num_labels)
        self.terms: nn.Module | None = None
        self.post_init()

    def add_terms(self) -> None:
        """Let the head see the document's terms too, as `TermHead` does; at first there are none."""
        self.terms = TermHead(labels=self.num_labels, vocabulary=self.config.vocab_size)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        documents: Tensor | None = None,
        labels: Tensor | None = None,
        **others: Any,
    ) -> SequenceClassifierOutput:
        """Classify documents.

        Args:
            input_ids: (rows, tokens) int64; a row is a window, from [CLS] to [SEP].
            attention_mask: (rows, tokens), 0 for padding; None where there is none.
            documents: (rows,) int64, from 0: the document that each row belongs to. None: row i is document i.
            labels: (documents,) int64; with them the result has the mean cross-entropy as its loss.
            others: For the encoder; None is left out.

        Returns:
            `logits` of shape (documents, labels).
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        passed = {name: value for name, value in others.items() if value is not None}
        features = self.features(input_ids, attention_mask, **passed)  # (rows, features)
        if documents is not None:
            features = mean_of_windows(features, documents)  # (documents, features)
        logits = self.classify(features, input_ids, attention_mask, documents)  # (documents, labels)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def features(self, input_ids: Tensor, attention_mask: Tensor, **others: Any) -> Tensor:
        """What is pooled of each row, (rows, features); the arguments are as for `forward`."""
        passed = others | {"return_dict": True}  # a caller, such as PEFT, may pass it, too
        outputs = self.base_model(input_ids=input_ids, attention_mask=attention_mask, **passed)
        return self._pool(outputs, attention_mask)

    def classify(self, features: Tensor, input_ids: Tensor, attention_mask: Tensor, documents: Tensor | None) -> Tensor:
        """The logits (documents, labels) of documents with these features (documents, features); the rest as for
        `forward`, for the terms."""
        logits: Tensor = self.classifier(self.dropout(features))
        return logits if self.terms is None else logits + self.terms(input_ids, attention_mask, documents)

    def _pool(self, outputs: Any, attention_mask: Tensor) -> Tensor:
        hidden: Tensor = outputs.last_hidden_state  # (rows, tokens, hidden)
        if self.pooling == "cls":
            pooled: Tensor | None = getattr(outputs, "pooler_output", None)
            return hidden[:, 0] if pooled is None else pooled
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (rows, tokens, 1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # (rows, hidden)
        if self.pooling == "mean":
            return mean
        largest = hidden.masked_fill(mask == 0, -torch.inf).amax(dim=1)  # (rows, hidden)
        return torch.cat([mean, largest], dim=-1)  # (rows, 2 * hidden)


class _WithoutPooler(PreTrainedModel):
    """Takes the pooler from an encoder whose classifier does not read it, as `PooledClassifier` does."""

    _keys_to_ignore_on_load_unexpected = (r"\bpooler\.",)  # of weights that were saved with one

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__(config)
        self.base_model.pooler = None


def mean_of_windows(features: Tensor, documents: Tensor) -> Tensor:
    """The mean of each document's rows: (rows, features) and (rows,) int64 to (documents, features)."""
    numbers = torch.arange(int(documents.max()) + 1, device=documents.device)
    belongs = (numbers.unsqueeze(1) == documents.unsqueeze(0)).to(features.dtype)  # (documents, rows)
    # A product and not index_add, which adds in another order every time on a GPU.
    return (belongs / belongs.sum(dim=1, keepdim=True)) @ features


def is_pooled(pooling: Pooling, long_text: LongText) -> bool:
    """Whether it takes a `PooledClassifier`; if not, transformers' own classifier does the same."""
    return pooling != "cls" or long_text == "windows"


def write_reading(config: PretrainedConfig, *, pooling: Pooling, long_text: LongText) -> None:
    """Note in `config` how its classifier reads and pools, so that a saved folder says it; for the plain one, nothing.

    A configuration that has a pooling for the plain one gets that of the first token, which the plain one is for.

    Raises:
        EncoderError: One of the two is not known.
    """
    _check(pooling, long_text)
    if hasattr(config, _OWN_POOLING):
        setattr(config, _OWN_POOLING, _first_token(config.model_type))
    if is_pooled(pooling, long_text):
        setattr(config, _CONFIG_KEY, {"pooling": pooling, "long_text": long_text})
    elif hasattr(config, _CONFIG_KEY):
        delattr(config, _CONFIG_KEY)


def own_pooling(settings: Mapping[str, Any]) -> dict[str, str]:
    """What makes transformers' own classifier read the first token, by the content of a config.json; empty where it
    reads nothing else."""
    model_type = str(settings.get("model_type"))
    may_differ = _OWN_POOLING in settings or model_type == _EUROBERT  # which reads another one if it says nothing
    return {_OWN_POOLING: _first_token(model_type)} if may_differ else {}


def _first_token(model_type: str) -> str:
    return "bos" if model_type == _EUROBERT else "cls"


def reading_of(config: PretrainedConfig) -> tuple[Pooling, LongText]:
    """The pooling and the way with long texts that a configuration names; ("cls", "head") where it names none.

    Raises:
        EncoderError: It names something else than there is.
    """
    content = getattr(config, _CONFIG_KEY, None)
    if content is None:
        return "cls", "head"
    if not isinstance(content, dict) or set(content) != {"pooling", "long_text"}:
        raise EncoderError(
            f'"{_CONFIG_KEY}" in config.json is {content!r}; it takes "pooling" and "long_text", or leave it out'
        )
    _check(content["pooling"], content["long_text"])
    return content["pooling"], content["long_text"]


def pooled_class(config: PretrainedConfig) -> type[PooledClassifier]:
    """The `PooledClassifier` of a configuration's architecture; the same class each time.

    Raises:
        EncoderError: The architecture is none of BERT's family.
    """
    architecture = MODEL_MAPPING.get(type(config), None)
    usable = type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING and not config.is_encoder_decoder
    if not usable or not isinstance(architecture, type):
        raise EncoderError(
            f"an encoder of the type {config.model_type!r} can't be pooled; choose one of BERT's family, such as bert, "
            'roberta, deberta-v2 or modernbert, or pooling = "cls" and another long_text than "windows"'
        )
    return _class_on(architecture)


@cache
def _class_on(architecture: type[PreTrainedModel]) -> type[PooledClassifier]:
    # transformers keeps an architecture's facts (the encoder's name in the model, its way of initialising, the
    # attention it supports) in a class that all of its models derive from, and reads them from the class.
    family = next(parent for parent in architecture.__mro__[1:] if issubclass(parent, PreTrainedModel))
    return type(PooledClassifier.__name__, (PooledClassifier, family), {"__module__": PooledClassifier.__module__})


def class_without_pooler(config: PretrainedConfig) -> type[PreTrainedModel]:
    """transformers' own classifier of one of `UNREAD_POOLERS`, without the pooler; the same class each time."""
    return _without_pooler(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)])


@cache
def _without_pooler(own: type[PreTrainedModel]) -> type[PreTrainedModel]:
    # Under the same name, which `config.json` gets.
    return type(own.__name__, (_WithoutPooler, own), {"__module__": _WithoutPooler.__module__})


def _dropout(config: PretrainedConfig) -> float:
    given = (getattr(config, name, None) for name in _DROPOUTS)
    return next((float(value) for value in given if value is not None), 0.0)


def _check(pooling: object, long_text: object) -> None:
    for name, value, choices in (("pooling", pooling, POOLINGS), ("long_text", long_text, LONG_TEXTS)):
        if value not in choices:
            raise EncoderError(f"{name} = {value!r} is not known; choose one of {', '.join(choices)}")
