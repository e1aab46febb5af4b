"""The README.md of an export that another library opens: what it is, and the lines that use it."""

from __future__ import annotations

from pathlib import Path

from tanzaku import __version__
from tanzaku.exports.snippets import snippet_of
from tanzaku.files import write_atomically
from tanzaku.ship.bundle import EncoderBundleFacts
from tanzaku.ship.certificate import Form


def write_card(folder: Path, facts: EncoderBundleFacts, *, form: Form) -> None:
    """Write `README.md` into an export.

    Args:
        folder: The export.
        facts: What the bundle says of itself.
        form: "transformers", "sentence-transformers" or "peft".
    """
    run = facts.run
    labels = ", ".join(facts.label_names)
    lines = [
        f"# A text classifier for {form}",
        "",
        f"Tanzaku {__version__} exported this from a bundle of {facts.method['name']}, trained on {run.data.name}.",
        f"Test accuracy of the run: {100 * run.test.accuracy:.2f} % ({run.test.documents:,} documents).",
        f"The labels, in the order of the logits: {labels}.",
        "Calibrated probabilities are the softmax of the logits divided by "
        f"{facts.calibration.temperature:.4g}, the temperature that was fitted on validation documents.",
        "",
        f"It reads the first {facts.encoder.max_tokens} tokens of a text. `certificate.json` says how it compares with "
        "the bundle.",
        "",
        "```python",
        *snippet_of(facts, form),
        "```",
        "",
    ]
    write_atomically(folder / "README.md", "\n".join(lines))
