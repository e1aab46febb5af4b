"""From the name of an encoder to a model with a fresh classification head."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from tanzaku.encoders.behaviour import encoder_checks, unused_tensors
from tanzaku.encoders.config import dropout_set, has_hidden_dropout, load_config, restore_dropout
from tanzaku.encoders.files import CONFIG_FILE
from tanzaku.encoders.pooled import (
    UNREAD_POOLERS,
    PooledClassifier,
    class_without_pooler,
    is_pooled,
    pooled_class,
    write_reading,
)
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.reading import LongText, Pooling
from tanzaku.encoders.source import EncoderSource, resolve_encoder
from tanzaku.encoders.tokenizer import load_tokenizer
from tanzaku.encoders.weights import read_weights
from tanzaku.errors import EncoderError

__all__ = [
    "EncoderSource",
    "SequenceClassifier",
    "bare_classifier",
    "build_classifier",
    "check_max_tokens",
    "classifier_checks",
    "encoder_class",
    "load_classifier",
    "load_config",
    "load_encoder",
    "load_tokenizer",
    "max_positions",
    "resolve_encoder",
    "without_pooler",
]


@dataclass(frozen=True)
class SequenceClassifier:
    """An encoder with a classification head, float32, on the CPU.

    `head` names the modules that every method trains and saves in full, such as `("classifier",)` or
    `("bert.pooler", "classifier")`: in the encoder, the largest ones of which the checkpoint has no weight at all;
    after it, what has the projection onto the labels or others that start from random numbers. `unused` names the
    tensors of the checkpoint's encoder that the model has no place for.
    """

    model: PreTrainedModel
    head: tuple[str, ...]
    unused: tuple[str, ...]


def load_classifier(
    source: EncoderSource,
    *,
    label_names: Sequence[str],
    seed: int,
    pooling: Pooling = "cls",
    long_text: LongText = "head",
    hidden_dropout: float | None = None,
    attention_dropout: float | None = None,
) -> SequenceClassifier:
    """The encoder's weights with a head for these labels.

    The new modules are drawn from `seed` alone: the same seed gives the same numbers, and the caller's random state
    is left as it was. A head that the checkpoint has for labels of its own is not kept.

    Args:
        source: The encoder's files.
        label_names: The classes, in the order of the logits.
        seed: Of the new modules.
        pooling: What the head sees. With "cls", and documents of one row, the model is transformers' own sequence
            classifier; otherwise a `PooledClassifier`.
        long_text: How documents are cut; "windows" takes a `PooledClassifier`.
        hidden_dropout: Probability for hidden states, the head's input among them; None for the configuration's. The
            model's configuration, which is saved with it, is not changed.
        attention_dropout: Likewise, for attention probabilities.

    Raises:
        EncoderError: The weights are damaged, do not fit the configuration, or lack a part of the encoder, the model
            has no dropout on hidden states to set, or the encoder does not compute what is assumed of it; see
            `encoder_checks`.
    """
    loaded = build_classifier(
        source,
        label_names=label_names,
        seed=seed,
        pooling=pooling,
        long_text=long_text,
        hidden_dropout=hidden_dropout,
        attention_dropout=attention_dropout,
    )
    for check in classifier_checks(source, loaded).values():
        check()
    return loaded


def classifier_checks(source: EncoderSource, loaded: SequenceClassifier) -> dict[str, Callable[[], str]]:
    """What `load_classifier` checks of the model from `build_classifier`; see `encoder_checks`."""
    return encoder_checks(
        loaded.model,
        unused=loaded.unused,
        where=f"encoder {source.name!r}",
        reads_cls=not isinstance(loaded.model, PooledClassifier),
    )


def build_classifier(
    source: EncoderSource,
    *,
    label_names: Sequence[str],
    seed: int,
    pooling: Pooling = "cls",
    long_text: LongText = "head",
    hidden_dropout: float | None = None,
    attention_dropout: float | None = None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> SequenceClassifier:
    """The model that `load_classifier` gives; whether its encoder works is not checked yet.

    With `weights`, the model's parameters are these tensors themselves (float32, by the names of `read_weights`), and
    the encoder's files are not read again.

    Raises:
        EncoderError: The weights are damaged, do not fit the configuration, or lack a part of the encoder, or the
            model has no dropout on hidden states to set.
    """
    config = _with_labels(load_config(source), label_names)
    write_reading(config, pooling=pooling, long_text=long_text)
    bare = bare_classifier(config, labels=len(label_names), pooling=pooling, long_text=long_text)
    _refuse_lost_dropout(source, bare, hidden=hidden_dropout)
    wider = bare_classifier(config, labels=len(label_names) + 1, pooling=pooling, long_text=long_text)
    projection = _label_projection(bare, wider)
    given = read_weights(source) if weights is None else weights
    kept = {name: tensor for name, tensor in given.items() if name not in projection}
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        # The CPU's generator alone: torch.manual_seed would disturb those of the GPUs as well.
        torch.default_generator.manual_seed(seed)
        try:
            with dropout_set(config, hidden=hidden_dropout, attention=attention_dropout):
                model, info = type(bare).from_pretrained(
                    None, config=config, state_dict=kept, dtype=torch.float32, output_loading_info=True
                )
        except (RuntimeError, ValueError) as error:
            raise EncoderError(
                f"encoder {source.name!r}: the weights do not match {CONFIG_FILE} ({error}); download both again"
            ) from error
    if hidden_dropout is not None and isinstance(model, PooledClassifier):
        model.dropout.p = hidden_dropout  # some configurations, such as EuroBERT's, have no name for it
    restore_dropout(model.config, config)
    model.name_or_path = model.config.name_or_path = source.name
    missing = set(info["missing_keys"]) & {name for name, _ in bare.named_parameters()}
    _refuse_holes(source, missing, prefix=f"{model.base_model_prefix}.")
    head = _head(model, missing | projection)
    return SequenceClassifier(model=model, head=head, unused=unused_tensors(model, info["unexpected_keys"]))


def load_encoder(source: EncoderSource, *, pooler: bool = True) -> PreTrainedModel:
    """The encoder without a head, float32, on the CPU, for evaluation.

    Args:
        source: The encoder's files.
        pooler: Whether an architecture that has a pooler gets it.

    Raises:
        EncoderError: The weights are damaged, do not fit the configuration, or lack a part of the encoder, or the
            encoder does not compute what is assumed of it; see `encoder_checks`.
    """
    config = load_config(source)
    with quiet_transformers():
        try:
            kind = encoder_class(config)
            model, info = kind.from_pretrained(
                None,
                config=config,
                state_dict=read_weights(source),
                dtype=torch.float32,
                output_loading_info=True,
                **({} if pooler else without_pooler(kind)),
            )
        except (RuntimeError, ValueError, KeyError) as error:
            raise EncoderError(f"encoder {source.name!r}: the weights do not match {CONFIG_FILE} ({error})") from error
    _refuse_holes(source, info["missing_keys"], prefix="")
    model.eval()
    unused = unused_tensors(model, info["unexpected_keys"])
    for check in encoder_checks(model, unused=unused, where=f"encoder {source.name!r}").values():
        check()
    return model


def encoder_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """The class of a configuration's encoder without a head."""
    with _construction(config):
        return type(AutoModel.from_config(config, trust_remote_code=False))


@contextmanager
def _construction(config: PretrainedConfig) -> Iterator[None]:
    """On PyTorch's meta device; whatever fails is the configuration's fault.

    Raises:
        EncoderError: Something failed.
    """
    try:
        with torch.device("meta"), quiet_transformers():
            yield
    except EncoderError:
        raise
    except Exception as error:  # each architecture fails in its own way
        reason = (str(error).strip().splitlines() or [""])[-1]  # some begin with the whole model
        raise EncoderError(
            f"the {CONFIG_FILE} of the encoder {config.name_or_path or config.model_type!r} can't be used "
            f"({type(error).__name__}: {reason}); correct it, or download it again"
        ) from error


def without_pooler(kind: type[PreTrainedModel]) -> dict[str, bool]:
    """The arguments with which an encoder of this class has no pooler."""
    has_choice = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if has_choice else {}


def bare_classifier(
    config: PretrainedConfig, *, labels: int, pooling: Pooling = "cls", long_text: LongText = "head"
) -> PreTrainedModel:
    """A classifier's shapes without its weights, on PyTorch's meta device: costs no memory and no download.

    Its class is the one that `load_classifier` gives for the same `pooling` and `long_text`.

    Raises:
        EncoderError: The architecture has no sequence classifier in transformers, or can't be pooled.
    """
    config = copy.deepcopy(config)
    config.num_labels = labels
    write_reading(config, pooling=pooling, long_text=long_text)
    pooled = is_pooled(pooling, long_text)
    if not pooled and type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise EncoderError(
            f"an encoder of the type {config.model_type!r} has no sequence classifier in transformers; "
            "choose one of BERT's family, such as bert, roberta, deberta-v2 or modernbert"
        )
    with _construction(config):
        if pooled:
            return pooled_class(config)(config)
        if config.model_type in UNREAD_POOLERS:
            return class_without_pooler(config)(config)
        return AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)


def max_positions(config: PretrainedConfig) -> int | None:
    """The most tokens that a text can have for this encoder; None where the configuration sets no limit."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return None
    for name, module in bare_classifier(config, labels=2).named_modules():
        # RoBERTa and its kin count positions from the padding's index + 1 on, so the table has rows to spare.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(positions) - int(module.padding_idx) - 1
    return int(positions)


def check_max_tokens(config: PretrainedConfig, max_tokens: int) -> None:
    """Make sure that the encoder has a position for every token.

    Raises:
        EncoderError: It has fewer; the message names the limit.
    """
    limit = max_positions(config)
    if limit is not None and max_tokens > limit:
        raise EncoderError(
            f"max_tokens = {max_tokens} is more than the encoder's {limit} positions; set max_tokens to {limit} or less"
        )


def _with_labels(config: PretrainedConfig, label_names: Sequence[str]) -> PretrainedConfig:
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: index for index, name in enumerate(label_names)}
    config.problem_type = "single_label_classification"
    return config


def _refuse_lost_dropout(source: EncoderSource, bare: PreTrainedModel, *, hidden: float | None) -> None:
    if hidden and not has_hidden_dropout(bare.config) and not isinstance(bare, PooledClassifier):
        raise EncoderError(
            f"encoder {source.name!r}: hidden_dropout = {hidden} has no effect, since an encoder of the type "
            f"{bare.config.model_type!r} has no dropout on hidden states; leave hidden_dropout out, or set "
            'encoder.pooling to "mean", whose classifier has one'
        )


def _label_projection(bare: nn.Module, wider: nn.Module) -> set[str]:
    """The parameters whose shape follows the number of labels, which `wider` has one more of: the last layer of the
    head, whatever it is called."""
    shapes = {name: parameter.shape for name, parameter in wider.named_parameters()}
    return {name for name, parameter in bare.named_parameters() if parameter.shape != shapes[name]}


def _refuse_holes(source: EncoderSource, missing: Iterable[str], *, prefix: str) -> None:
    """Only a head, or the pooler that masked-language-model pretraining leaves out, may be missing; `prefix` begins the
    names of the encoder's own tensors."""
    holes = sorted(name for name in missing if name.startswith(prefix) and ".pooler." not in f".{name}")
    if holes:
        raise EncoderError(
            f"encoder {source.name!r}: the weights lack {len(holes)} of the encoder's own tensors, such as {holes[0]}; "
            f"they are incomplete, or {CONFIG_FILE} describes another model; download both again"
        )


def _head(model: PreTrainedModel, new: set[str]) -> tuple[str, ...]:
    """The modules that are trained in full: of the encoder, the new ones; of what follows it, all that has a new part.

    A checkpoint that was fine-tuned may have a part of the head, such as RoBERTa's `classifier.dense`, which is trained
    on from there: PEFT takes `classifier` as a whole, and all that is called alike, such as DistilBERT's
    `pre_classifier`.
    """
    encoder = f"{model.base_model_prefix}."
    inside = [name for name in _largest_modules(model, new) if name.startswith(encoder)]
    after = {name.partition(".")[0] for name in new if not name.startswith(encoder)}
    called_alike = [name for name, _ in model.named_children() if name.endswith(tuple(after)) and f"{name}." != encoder]
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    return tuple(sorted({*inside, *after, *called_alike}, key=order.__getitem__))


def _largest_modules(model: nn.Module, names: set[str]) -> set[str]:
    """The fewest modules that cover the parameters `names`, without any other parameter in them."""
    parameters = [name for name, _ in model.named_parameters()]
    modules = set()
    for name in names:
        parts = name.split(".")[:-1]
        for length in range(1, len(parts) + 1):
            module = ".".join(parts[:length])
            if length == len(parts) or all(other in names for other in parameters if other.startswith(f"{module}.")):
                modules.add(module)
                break
    return modules
