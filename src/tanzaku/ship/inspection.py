"""What `tanzaku doctor` looks at in a bundle: its files, its encoder, and whether it classifies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tanzaku.encoders.checks import Check
from tanzaku.errors import TanzakuError
from tanzaku.files import folder_bytes
from tanzaku.ship.bundle import BUNDLE_FILE, EncoderBundleFacts, open_bundle

_TEXT = "これは確認のための文である。"


def is_bundle(folder: Path) -> bool:
    """Whether a folder means to be a bundle, damaged or not."""
    return (folder / BUNDLE_FILE).is_file()


def check_bundle(folder: Path) -> Iterator[Check]:
    """Check a bundle's files against its manifest, name what is in it, load it with its encoder and classify a text."""
    from tanzaku.ship.classifier import Classifier

    try:
        facts = open_bundle(folder).facts
    except TanzakuError as error:
        yield Check("bundle", "fail", str(error), "pack the run again with `tanzaku pack`, or copy the bundle again")
        return
    run = facts.run
    yield Check(
        "bundle",
        "ok",
        f"{facts.method['name']}, {len(facts.label_names)} labels, {folder_bytes(folder) / 1e6:.2f} MB, from the run "
        f"{run.run_id} (test accuracy {100 * run.test.accuracy:.2f} %), packed by Tanzaku {facts.tanzaku}",
    )
    needed = facts.encoder.name if isinstance(facts, EncoderBundleFacts) and not facts.whole else None
    try:
        (prediction,) = Classifier.load(folder)([_TEXT])
    except TanzakuError as error:
        remedy = "name the encoder's folder with --encoder, or pack the run --with-encoder" if needed else None
        yield Check("classifying", "fail", str(error), remedy)
        return
    needs = f"with the encoder {needed}" if needed else "without any encoder"
    yield Check("classifying", "ok", f"{needs}: {_TEXT!r} is {prediction.label!r}")
