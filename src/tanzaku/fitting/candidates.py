"""The ladder: what `fit` tries, from kilobytes up, and what is known of each candidate's size beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tanzaku.encoders.source import EncoderSource, files_of
from tanzaku.methods import METHODS, EncoderMethod, TextMethod
from tanzaku.study.recipes import RECIPES
from tanzaku.study.spec import method_named

Form = Literal["text", "whole", "int8", "adapter"]
"""How a candidate is packed: a text method as it is; an adapted encoder with all weights, with all weights in 8 bits,
or as the adapter only, where the encoder is there anyway."""

_TFIDF = "tfidf-svm"
_MAX_TOKENS = 512

# From the cheapest to the most expensive to train. A penalty of 5 suits few terms (records/livedoor-terms).
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
ENCODER_ARMS: tuple[Mapping[str, Any], ...] = (
    {"method": "head"},
    {"method": "lora", "rank": 2},
    {"method": "lora", "rank": 8},
    {"method": "lora", "rank": 32},
    {"method": "lora+tfidf"},
    {"method": "full"},
)


@dataclass(frozen=True)
class Candidate:
    """An arm of the study with the forms in which it can be packed."""

    arm: Mapping[str, Any]
    forms: tuple[Form, ...]

    @property
    def adapts_encoder(self) -> bool:
        """Whether it needs one."""
        return issubclass(METHODS[self.arm["method"]], EncoderMethod)


def ladder(encoder: str | None, *, shared_encoder: bool) -> tuple[Candidate, ...]:
    """The candidates, the cheap ones first.

    Args:
        encoder: The encoder that methods adapt, by its name; without one, only text methods are tried.
        shared_encoder: Whether the encoder is there anyway where the classifier is going to work.
    """
    arms = list(TEXT_ARMS)
    if encoder is not None:
        arms += [{"method": "static", "vectors_from": encoder}]
        arms += ENCODER_ARMS
    return candidates_of(arms, shared_encoder=shared_encoder)


def candidates_of(arms: Sequence[Mapping[str, Any]], *, shared_encoder: bool) -> tuple[Candidate, ...]:
    """Arms with the forms of their methods."""
    return tuple(Candidate(arm, _forms(arm, shared_encoder=shared_encoder)) for arm in arms)


def _forms(arm: Mapping[str, Any], *, shared_encoder: bool) -> tuple[Form, ...]:
    if issubclass(method_named(str(arm.get("method")), where="candidates"), TextMethod):
        return ("text",)
    return ("adapter", "int8") if shared_encoder else ("int8", "whole")


def encoder_settings(source: EncoderSource) -> dict[str, Any]:
    """The study's [encoder]: documents are read as far as the encoder can."""
    from tanzaku.encoders.load import load_config, max_positions

    positions = max_positions(load_config(source))
    return {"name": source.name, "max_tokens": min(_MAX_TOKENS, positions or _MAX_TOKENS)}


def least_bytes(candidate: Candidate, form: Form, source: EncoderSource | None, *, labels: int) -> int:
    """What a bundle takes at the least, before anything is trained; the packed bundle is weighed in any case.

    Of an encoder, its tokenizer's files and its weights: four bytes a parameter, or one in 8 bits. Of an adapter only
    the parameters that are trained.
    """
    if form == "text" or source is None:
        return 0  # it takes seconds to train, and its terms are known only then
    from tanzaku.encoders.load import bare_classifier, load_config

    model = bare_classifier(load_config(source), labels=labels, pooling=RECIPES["default"].shared["pooling"])
    if form == "adapter":
        options = {name: value for name, value in candidate.arm.items() if name in _options(candidate)}
        method = METHODS[candidate.arm["method"]].model_validate(options)
        assert isinstance(method, EncoderMethod)
        return 4 * method.trainable_parameters(model, head=("classifier",))
    tokenizer = sum((source.folder / name).stat().st_size for name in files_of(source).tokenizer)
    parameters: int = sum(parameter.numel() for parameter in model.parameters())
    return tokenizer + parameters * (1 if form == "int8" else 4)


def _options(candidate: Candidate) -> set[str]:
    return set(METHODS[candidate.arm["method"]].model_fields)
