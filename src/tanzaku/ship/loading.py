"""From a bundle to the plain model and the tokenizer that classify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tanzaku.encoders.source import EncoderSource, files_of, resolve_encoder
from tanzaku.errors import BundleError, EncoderError
from tanzaku.files import sha256_of_file
from tanzaku.ship.bundle import ENCODER_FOLDER, MODEL_FOLDER, EncoderBundleFacts

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from tanzaku.methods import EncoderMethod
    from tanzaku.study.encoder_spec import EncoderSpec


def load_model(
    folder: Path, facts: EncoderBundleFacts, *, encoder: str | None = None
) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    """The bundle's model (float32, on the CPU, in evaluation mode), merged into a plain one where its method can be,
    and its tokenizer.

    Args:
        folder: The bundle's.
        facts: What it says of itself.
        encoder: Where the base encoder lies, if not under the name in the bundle.

    Raises:
        BundleError: The base encoder is needed, and can't be found or is another one.
    """
    from tanzaku.encoders.tokenizer import load_tokenizer

    method = facts.build_method()
    source = base_of(folder, facts, encoder=encoder)
    if facts.merged:
        return _load_whole(source).eval(), load_tokenizer(source)
    saved = folder / MODEL_FOLDER
    model = load_adapted(source, method, saved, label_names=facts.label_names, reading=facts.encoder).eval()
    # From the encoder: the fingerprint covers its tokenizer, so the bundle's copy is the same.
    return model, load_tokenizer(source)


def base_of(folder: Path, facts: EncoderBundleFacts, *, encoder: str | None) -> EncoderSource:
    """The encoder in a whole bundle, and otherwise the one that it needs; see `load_model`."""
    if facts.whole:
        return EncoderSource(facts.encoder.name, folder / ENCODER_FOLDER, facts.base.fingerprint)
    return find_encoder(
        facts.encoder,
        fingerprint=facts.base.fingerprint,
        other_name=encoder,
        needed_by=f"the bundle {folder}",
        expected=folder / ENCODER_FOLDER,
    )


def load_adapted(
    source: EncoderSource, method: EncoderMethod, saved: Path, *, label_names: Sequence[str], reading: EncoderSpec
) -> nn.Module:
    """The base encoder with what `method` saved in `saved`, merged where it can be; it pools as `reading` says."""
    from tanzaku.encoders.load import load_classifier

    # The seed draws a head that the saved one takes the place of.
    loaded = load_classifier(
        source, label_names=label_names, seed=0, pooling=reading.pooling, long_text=reading.long_text
    )
    with method.named_errors():
        return method.merge(method.load(loaded.model, saved, head=loaded.head))


def find_encoder(
    encoder: EncoderSpec,
    *,
    fingerprint: str,
    other_name: str | None,
    needed_by: str,
    expected: Path | None = None,
) -> EncoderSource:
    """Find the base encoder, and make sure that it is the one that was adapted.

    Args:
        encoder: The [encoder] section, which names it.
        fingerprint: The SHA-256 that its files must have.
        other_name: A folder or Hub id to take instead of that name.
        needed_by: Begins the messages: the bundle or the run.
        expected: A folder with the files that the encoder had next to its weights, to say what differs.

    Raises:
        BundleError: It can't be found, or is another one.
    """
    name = other_name or encoder.name
    remedy = (
        "name a folder with the right one (--encoder FOLDER, or encoder=… in Python), or, where the encoder is at "
        "hand, pack the run with --with-encoder: such a bundle needs no encoder"
    )
    try:
        source = resolve_encoder(name, revision=encoder.revision if other_name is None else None)
    except EncoderError as error:
        raise BundleError(
            f"{needed_by} needs the encoder {encoder.name!r} (fingerprint {fingerprint[:12]}…), which can't be used: "
            f"{error}. Or {remedy}"
        ) from error
    if source.fingerprint != fingerprint:
        raise BundleError(
            f"{needed_by} was trained on the encoder {encoder.name!r} with the fingerprint {fingerprint[:12]}…, but "
            f"{name!r} ({source.folder}) has {source.fingerprint[:12]}…{_difference(source, expected)}; {remedy}"
        )
    return source


def _difference(source: EncoderSource, expected: Path | None) -> str:
    if expected is None:
        return ""
    ours = {path.name: sha256_of_file(path) for path in expected.iterdir() if path.is_file()}
    files = files_of(source)
    theirs = {name: sha256_of_file(source.folder / name) for name in files.names if name not in files.weights}
    differing = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return f" (they differ in {', '.join(differing) or 'the weights'})"


def _load_whole(source: EncoderSource) -> PreTrainedModel:
    """A model from a folder that holds all its weights, the head's too, under their names in the bare classifier."""
    import torch

    from tanzaku.encoders.behaviour import encoder_checks
    from tanzaku.encoders.config import load_config
    from tanzaku.encoders.load import bare_classifier
    from tanzaku.encoders.pooled import reading_of
    from tanzaku.encoders.quiet import quiet_transformers
    from tanzaku.encoders.weights import read_weights

    config = load_config(source)
    pooling, long_text = reading_of(config)
    bare = bare_classifier(config, labels=config.num_labels, pooling=pooling, long_text=long_text)
    with quiet_transformers():
        model, info = type(bare).from_pretrained(
            None, config=config, state_dict=read_weights(source), dtype=torch.float32, output_loading_info=True
        )
    if wrong := sorted(name for names in info.values() for name in map(str, names)):
        raise BundleError(f"{source.folder}: the weights and config.json do not match ({wrong[0]}); pack the run again")
    for check in encoder_checks(model, unused=(), where=f"{source.folder}").values():
        check()
    return model
