"""The ladder: what `fit` tries, from kilobytes up, and what is known of each candidate's size beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tanzaku.encoders.source import EncoderSource, files_of
from tanzaku.methods import METHODS, EncoderMethod, TextMethod
from tanzaku.study.recipes import RECIPES
from tanzaku.study.spec import method_named

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Form = Literal["text", "whole", "int8", "int4", "stored", "adapter"]
"""How a candidate is packed: a text method as it is; an adapted encoder with all weights in float32, in 8 or in 4 bits;
the adapter with the encoder as it is stored, or the adapter only, where the encoder is there anyway."""

_TFIDF = "tfidf-svm"
_BYTES: Mapping[Form, float] = {"whole": 4, "int8": 1, "int4": 0.5}
_MAX_TOKENS = 512

# From the cheapest to the most expensive to train. A penalty of 5 suits few terms (records/livedoor).
TEXT_ARMS: tuple[Mapping[str, Any], ...] = (
    {"method": _TFIDF, "analyzer": "character", "max_terms": 2048, "penalty": 5.0, "weight_bits": 8},
    {"method": _TFIDF, "analyzer": "mecab", "max_terms": 2048, "penalty": 5.0, "weight_bits": 8},
    {"method": _TFIDF, "analyzer": "mecab", "max_terms": 8192, "penalty": 5.0, "weight_bits": 8},
    {
        "method": _TFIDF,
        "analyzer": "character",
        "longest_ngram": 3,
        "max_terms": 32768,
        "penalty": 5.0,
        "weight_bits": 8,
    },
    {"method": _TFIDF, "analyzer": "mecab", "penalty": 1.0},
)
# The most promising first, after the one that is cheap: what comes last is not tried where the time is short.
ENCODER_ARMS: tuple[Mapping[str, Any], ...] = (
    {"method": "head"},
    {"method": "lora", "rank": 8},
    {"method": "lora+tfidf", "rank": 8, "learning_rate": 1e-3},  # takes over the training of the one before
    {"method": "full"},
    {"method": "lora", "rank": 2},
    {"method": "lora", "rank": 32},
)


@dataclass(frozen=True)
class Candidate:
    """An arm of the study with the forms in which it can be packed."""

    arm: Mapping[str, Any]
    forms: tuple[Form, ...]

    @property
    def method(self) -> EncoderMethod | TextMethod:
        """With the options of the arm, which are valid."""
        kind = METHODS[self.arm["method"]]
        return kind.model_validate({name: value for name, value in self.arm.items() if name in kind.model_fields})

    @property
    def adapts_encoder(self) -> bool:
        """Whether it needs one."""
        return adapts_encoder(self.arm)


def ladder(encoder: str | None) -> tuple[Mapping[str, Any], ...]:
    """The arms of the candidates, the cheap ones first.

    Args:
        encoder: The encoder that methods adapt, by its name; without one, only text methods are tried.
    """
    if encoder is None:
        return TEXT_ARMS
    return (*TEXT_ARMS, {"method": "static", "vectors_from": encoder}, *ENCODER_ARMS)


def adapts_encoder(arm: Mapping[str, Any]) -> bool:
    """Whether an arm's method needs an encoder.

    Raises:
        SpecError: There is no such method.
    """
    return issubclass(method_named(str(arm.get("method")), where="candidates"), EncoderMethod)


def candidates_of(
    arms: Sequence[Mapping[str, Any]], source: EncoderSource | None, *, shared_encoder: bool
) -> tuple[Candidate, ...]:
    """Arms with the forms of their methods.

    Args:
        arms: As in a study file.
        source: The encoder that is adapted.
        shared_encoder: Whether it is there anyway where the classifier is going to work.
    """
    return tuple(Candidate(arm, _forms(arm, source, shared_encoder=shared_encoder)) for arm in arms)


def _forms(arm: Mapping[str, Any], source: EncoderSource | None, *, shared_encoder: bool) -> tuple[Form, ...]:
    """The smallest first. Forms that are larger than another, and lose more, are left out."""
    method = method_named(str(arm.get("method")), where="candidates")
    if not issubclass(method, EncoderMethod) or source is None:
        return ("text",)
    if method.saves_whole_model:
        return ("int4", "int8", "whole")
    if shared_encoder:
        return ("adapter",)
    weights_format = files_of(source).weights_format
    if weights_format == "q4":
        return ("stored",)
    return ("int4", "int8", "whole" if weights_format == "pytorch" else "stored")


def encoder_settings(source: EncoderSource) -> dict[str, Any]:
    """The study's [encoder]: documents are read as far as the encoder can."""
    from tanzaku.encoders.load import load_config, max_positions

    positions = max_positions(load_config(source))
    return {"name": source.name, "max_tokens": min(_MAX_TOKENS, positions or _MAX_TOKENS)}


def least_bytes(candidate: Candidate, form: Form, source: EncoderSource | None, *, labels: int) -> int:
    """What a bundle takes at the least, before anything is trained; the packed bundle is weighed in any case.

    Of an encoder, its tokenizer's files and its weights: those of its own files where it is stored, and otherwise four
    bytes a parameter, one in 8 bits or half of one in 4. Of an adapter only the parameters that are trained.
    """
    if form == "text" or source is None:
        return 0  # it takes seconds to train, and its terms are known only then
    files = files_of(source)

    def size(names: Sequence[str]) -> int:
        return sum((source.folder / name).stat().st_size for name in names)

    if form in ("adapter", "stored"):
        method = candidate.method
        assert isinstance(method, EncoderMethod)
        own = size([*files.tokenizer, *files.weights]) if form == "stored" else 0
        trained = method.trainable_parameters(_bare(source, labels=labels), head=("classifier",))
        return own + method.bytes_per_parameter * trained
    return size(files.tokenizer) + int(parameters_of(source, labels=labels) * _BYTES[form])


def parameters_of(source: EncoderSource, *, labels: int) -> int:
    """How many parameters an encoder has with a head for so many labels."""
    return sum(parameter.numel() for parameter in _bare(source, labels=labels).parameters())


def _bare(source: EncoderSource, *, labels: int) -> PreTrainedModel:
    from tanzaku.encoders.load import bare_classifier, load_config

    return bare_classifier(load_config(source), labels=labels, pooling=RECIPES["default"].shared["pooling"])
