"""What `tanzaku doctor ENCODER` looks at: everything that could go wrong with an encoder in a study."""

import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from tanzaku.encoders.checks import Check
from tanzaku.encoders.fast import fast_forward
from tanzaku.encoders.fit import golden_pieces
from tanzaku.encoders.load import SequenceClassifier, build_classifier, classifier_checks, load_config, max_positions
from tanzaku.encoders.source import (
    EMBEDDED_NAME,
    EncoderSource,
    files_of,
    read_settings,
    resolve_encoder,
    warn_of_revision,
)
from tanzaku.encoders.tokenizer import (
    JAPANESE_CLASS,
    TOKENIZER_CONFIG_FILE,
    build_tokenizer,
    japanese_settings,
    tokenizer_checks,
    tokenizer_class_name,
)
from tanzaku.errors import EncoderError, TanzakuWarning

_LABELS = ("one", "two")


def check_encoder(name: str, *, revision: str | None = None) -> Iterator[Check]:
    """Check an encoder from its files to its head, one step after another; a step that fails ends its branch."""
    source = yield from _attempt("encoder", lambda: resolve_encoder(name, revision=revision))
    if source is None:
        return
    warn_of_revision(source, revision)
    yield _files(source)
    config = yield from _attempt("configuration", lambda: load_config(source))
    if config is None:
        return
    described = yield from _attempt("configuration", lambda: _describe(config))
    if described is None:
        return
    yield Check("configuration", "ok", described)
    tokenizer = yield from _attempt("tokenizer", lambda: build_tokenizer(source))
    if tokenizer is not None:
        yield Check("tokenizer", "ok", f"{type(tokenizer).__name__}, {_words(source, tokenizer)}")
        if (yield from _all(tokenizer_checks(source, tokenizer))):
            yield Check("golden tokens", "ok", " ".join(golden_pieces(tokenizer)[0]))
    loaded = yield from _attempt("weights", lambda: build_classifier(source, label_names=_LABELS, seed=0))
    if loaded is not None:
        yield from _model(source, loaded)


def _describe(config: PretrainedConfig) -> str:
    if not hasattr(config, "hidden_size"):
        raise EncoderError(f"a {config.model_type} is no text encoder of BERT's family; choose another encoder")
    limit = max_positions(config)
    positions = "no limit" if limit is None else f"max_tokens up to {limit}"
    return f"{config.model_type}, hidden size {config.hidden_size}; {positions}"


def _model(source: EncoderSource, loaded: SequenceClassifier) -> Iterator[Check]:
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    detail = f"{parameters:,} parameters with a head for {len(_LABELS)} labels, float32, all of them finite"
    yield Check("weights", "ok", detail)
    yield Check("head", "ok", f"newly initialized; every method trains it: {', '.join(loaded.head)}")
    if (yield from _all(classifier_checks(source, loaded))):
        yield _path(loaded.model)


def _all(checks: dict[str, Callable[[], str]]) -> Generator[Check, None, bool]:
    """Do checks until one fails; says whether none did."""
    for name, check in checks.items():
        detail = yield from _attempt(name, check)
        if detail is None:
            return False
        yield Check(name, "ok", detail)
    return True


def _attempt(name: str, step: Callable[[], Any]) -> Generator[Check, None, Any]:
    """Do a step; its warnings and its error become checks. Returns the step's result, None where it failed."""
    result, failure = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TanzakuWarning)
        try:
            result = step()
        except EncoderError as error:
            failure = _as_check(name, "fail", str(error))
    for warning in caught:
        if issubclass(warning.category, TanzakuWarning):
            yield _as_check(name, "warn", str(warning.message))
    if failure is not None:
        yield failure
    return result


def _as_check(name: str, status: Any, message: str) -> Check:
    """Our messages read "what is wrong; what to do"."""
    detail, _, remedy = message.partition("; ")
    return Check(name, status, detail, remedy or None)


def _path(model: PreTrainedModel) -> Check:
    if fast_forward(model, precision="float32") is not None:
        return Check("fast path", "ok", "taken for this encoder; training.fast = false turns it off")
    return Check("fast path", "ok", "not for this architecture: transformers computes it (the fast path knows BERT)")


def _files(source: EncoderSource) -> Check:
    files = files_of(source)
    weights_bytes = sum((source.folder / name).stat().st_size for name in files.weights)
    kind = {
        "safetensors": "safetensors",
        "q4": "safetensors in 4 bits",
        "pytorch": "pytorch_model.bin, read by PyTorch's weights-only loader",
    }[files.weights_format]
    where = "" if source.name == EMBEDDED_NAME else f"{source.folder}; "
    return Check(
        "encoder", "ok", f"{where}{weights_bytes / 1e6:.1f} MB of {kind}; fingerprint {source.fingerprint[:12]}"
    )


def _words(source: EncoderSource, tokenizer: Any) -> str:
    if tokenizer_class_name(source) != JAPANESE_CLASS:
        return "fast" if tokenizer.is_fast else "without a fast way"
    settings = japanese_settings(source)
    words = f"words by {settings['word_tokenizer_type']}"
    if "mecab_kwargs" not in settings:
        return words
    given = read_settings(source, TOKENIZER_CONFIG_FILE).get("mecab_kwargs") or {}
    told = (
        ""
        if "mecab_dic" in given
        else " (the checkpoint names none; IPADIC was the default when such checkpoints were published)"
    )
    return f"{words} with {settings['mecab_kwargs']['mecab_dic']}{told}, pieces by {tokenizer.subword_tokenizer_type}"
