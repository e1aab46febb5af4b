"""A bundle's weights in fewer bits, and what that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tanzaku.data.dataset import Dataset
from tanzaku.data.loading import load_dataset
from tanzaku.encoders.files import Q4_FILE, SAFETENSORS_FILE
from tanzaku.encoders.source import EncoderSource
from tanzaku.errors import DataError
from tanzaku.ship.building import write_facts
from tanzaku.ship.bundle import ENCODER_FOLDER, EncoderBundleFacts, QuantizationFacts
from tanzaku.ship.certificate import (
    Measured,
    Texts,
    bundle_bytes,
    certify,
    check_certificate,
    measure_form,
    texts_of,
    write_certificate,
)
from tanzaku.ship.held_out import HELD_OUT_FILE
from tanzaku.ship.validation import validate
from tanzaku.study.record import EncoderFacts, FinishedEncoderRun, FinishedRun

LowDtype = Literal["int8", "int4"]


def lower(
    bundle: Path,
    facts: EncoderBundleFacts,
    record: FinishedEncoderRun,
    *,
    dataset: Dataset | None,
    dtype: LowDtype,
    max_flips: float | None,
    compare: bool,
) -> None:
    """Lower a whole bundle's weights to 8 or 4 bits.

    Args:
        bundle: Its folder, where it is built.
        facts: What it says of itself so far.
        record: Of its run.
        dataset: Its validation set is classified before and after; None takes the run's own, where that can be read.
        dtype: What the weights become.
        max_flips: The largest share of texts that may get another label.
        compare: Whether to classify texts before and after, for a certificate and the calibration.

    Raises:
        BundleError: More texts than `max_flips` get another label.
    """
    lowered = facts.model_copy(update={"weights": dtype})
    if not compare:
        _lower(bundle / ENCODER_FOLDER, record.encoder, dtype=dtype)
        _forget(bundle)
        write_facts(bundle, lowered)
        return
    dataset = dataset or _data_of(record)
    texts = texts_of(dataset, label_names=facts.label_names)
    before = validate(bundle, dataset, encoder=None) if dataset is not None else None
    original = _measure(bundle, texts)
    _lower(bundle / ENCODER_FOLDER, record.encoder, dtype=dtype)
    _forget(bundle)
    write_facts(bundle, lowered)
    certificate = certify(original, _measure(bundle, texts), texts, form="bundle", dtype=dtype)
    check_certificate(certificate, max_flips=max_flips)
    write_certificate(bundle, certificate)
    write_facts(bundle, lowered)
    if dataset is not None and before is not None:
        after = validate(bundle, dataset, encoder=None)
        changed = int((before.predicted != after.predicted).sum())
        quantized = QuantizationFacts(
            changed=changed, val_data=dataset.name, val=after.scores, val_before=before.scores
        )
        after.write_held_out(bundle)
        write_facts(bundle, lowered.model_copy(update={"quantized": quantized, "calibration": after.calibration}))


def _forget(bundle: Path) -> None:
    """Remove how the validation documents were classified, which is about the weights as trained."""
    (bundle / HELD_OUT_FILE).unlink(missing_ok=True)


def _lower(folder: Path, encoder: EncoderFacts, *, dtype: LowDtype) -> None:
    """Write the weights in `folder` again, in 8 or 4 bits."""
    from safetensors.torch import save_file

    from tanzaku.encoders.compact import pack_weights, round_weights
    from tanzaku.encoders.quantized import quantize_matrices
    from tanzaku.encoders.weights import read_weights

    weights = read_weights(EncoderSource(encoder.name, folder, encoder.fingerprint))
    path = folder / SAFETENSORS_FILE
    if dtype == "int8":
        lowered = quantize_matrices(weights, head=encoder.head)
    else:
        path.unlink()
        path, lowered = folder / Q4_FILE, pack_weights(round_weights(weights, head=encoder.head))
    save_file(lowered, path, metadata={"format": "pt"})


def _measure(bundle: Path, texts: Texts) -> Measured:
    from tanzaku.ship.classifier import Classifier

    def load() -> Classifier:
        return Classifier.load(bundle, device="cpu", precision="float32")

    return measure_form(load, texts, size_bytes=bundle_bytes(bundle))


def _data_of(record: FinishedRun) -> Dataset | None:
    """The run's data, where it can be read and is still the same."""
    if record.data.source is None:
        return None
    try:
        dataset = load_dataset(record.data.source)
    except DataError:
        return None
    return dataset if dataset.fingerprint == record.data.fingerprint else None
