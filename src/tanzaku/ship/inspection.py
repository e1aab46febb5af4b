"""What `tanzaku inspect` looks at in a bundle: its files, what they contain, its encoder, and whether it classifies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tanzaku.display import counted
from tanzaku.encoders.checks import Check
from tanzaku.errors import TanzakuError
from tanzaku.ship.bundle import (
    BUNDLE_FILE,
    BundleFacts,
    EncoderBundleFacts,
    GraphBundleFacts,
    TextBundleFacts,
    open_bundle,
)
from tanzaku.ship.cards.facts import measured_splits
from tanzaku.ship.certificate import bundle_bytes
from tanzaku.ship.held_out import HeldOut, read_held_out
from tanzaku.study.summary import CalibrationFacts

_TEXT = "これは確認のための文である。"


def is_bundle(folder: Path) -> bool:
    """Whether a folder means to be a bundle, damaged or not."""
    return (folder / BUNDLE_FILE).is_file()


def check_bundle(folder: Path, *, encoder: str | None = None) -> Iterator[Check]:
    """Check a bundle's files against its manifest, name what is in it, load it with its encoder and classify a text.

    Args:
        folder: The bundle's.
        encoder: Where its base encoder lies, if not under the name in the bundle.
    """
    from tanzaku.ship.classifier import Classifier

    try:
        facts = open_bundle(folder).facts
        held_out = read_held_out(folder)
    except TanzakuError as error:
        yield Check("bundle", "fail", str(error))  # which has the remedy
        return
    size = bundle_bytes(folder)
    yield Check("bundle", "ok", f"all files are as the manifest says: {size:,} bytes ({size / 1e6:.2f} MB)")
    options = {name: value for name, value in facts.method.items() if name != "name"}
    shown = ", ".join(f"{name} = {value}" for name, value in options.items())
    yield Check("method", "ok", f"{facts.method['name']}{f' ({shown})' if shown else ''}")
    yield Check("labels", "ok", f"{len(facts.label_names)}: {', '.join(facts.label_names)}")
    yield Check("encoder", "ok", _encoder(facts))
    yield _calibration(facts.calibration, held_out)
    yield Check("origin", "ok", _origin(facts))
    needed = facts.encoder.name if isinstance(facts, EncoderBundleFacts) and not facts.whole else None
    try:
        (prediction,) = Classifier.load(folder, encoder=encoder)([_TEXT])
    except TanzakuError as error:
        remedy = "name the encoder's folder with --encoder, or pack the run --with-encoder" if needed else None
        yield Check("classifying", "fail", str(error), remedy)
        return
    needs = f"with the encoder {needed}" if needed else "without any encoder"
    yield Check("classifying", "ok", f"{needs}: {_TEXT!r} is {prediction.label!r}")


def _encoder(facts: BundleFacts) -> str:
    if isinstance(facts, GraphBundleFacts) and facts.reading is not None:
        return "part of the graph"
    if not isinstance(facts, EncoderBundleFacts):
        return "none is needed"
    included = "included, as it is" if facts.weights == "encoder" else f"included, in {facts.weights}"
    where = included if facts.whole else "not included: it is found by this name"
    about = f"{facts.base.model_type}, {facts.base.parameters:,} parameters, fingerprint {facts.base.fingerprint[:12]}…"
    return f"{facts.encoder.name} ({about}), {where}; computes in {facts.precision}"


def _calibration(facts: CalibrationFacts, held_out: HeldOut | None) -> Check:
    temperature = f"temperature {facts.temperature:.3f}"
    fitted = f"fitted on {counted(facts.documents, 'validation document')}"
    kept = (
        f"error rates can be promised with the {len(held_out.correct):,} {held_out.documents}"
        if held_out is not None
        else "error rates can't be promised: the bundle keeps no results of the present weights on held-out documents"
    )
    if not facts.documents:
        return Check("calibration", "warn", f"{temperature}, which is typical of the method; {kept}")
    if facts.few_documents:
        mostly = f"these are few, so it is mostly the typical one of the method (evidence {facts.evidence:.2f})"
        return Check("calibration", "warn", f"{temperature}, {fitted}; {mostly}; {kept}")
    return Check("calibration", "ok", f"{temperature}, {fitted}; {kept}")


def _origin(facts: BundleFacts) -> str:
    run = facts.run
    measured = [
        f"{split.name} {100 * split.scores.accuracy:.2f} % of {split.scores.documents:,}"
        for split in measured_splits(facts)
    ]
    return "; ".join(
        [
            f"the run {run.run_id} of the study {run.study}, {run.ended}, on the data {run.data.name} "
            f"({run.data.train_documents:,} training documents)",
            f"accuracy of the run: {', '.join(measured) or 'unknown, since all documents were trained on'}",
            *_changes(facts),
            f"packed by Tanzaku {facts.tanzaku}",
        ]
    )


def _changes(facts: BundleFacts) -> list[str]:
    """What was done to the weights after the run."""
    if isinstance(facts, TextBundleFacts):
        return []
    found = []
    if facts.bits:
        found.append(f"then lowered to {facts.bits} bits, {_measured(facts.quantized)}")
    if facts.compressed:
        found.append(
            f"then compressed from {_ranks(facts.compressed.ranks_before)} to {_ranks(facts.compressed.ranks)}, "
            f"{_measured(facts.compressed.val)}"
        )
    if isinstance(facts, GraphBundleFacts):
        found.append(f"then exported as a graph for {facts.engine} in {facts.dtype}")
    return found


def _ranks(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"rank {low}" if low == high else f"ranks {low}–{high}"


def _measured(scores: object) -> str:
    return "not measured" if scores is None else "measured"
