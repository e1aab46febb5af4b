"""The model card of a bundle or an export: its README.md, with the front matter that Hugging Face's hub reads.

It is written once, from what the bundle says of itself. The manifest does not name it, so that it can be edited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tanzaku.files import write_atomically
from tanzaku.ship.bundle import BundleFacts
from tanzaku.ship.cards.facts import CardFacts
from tanzaku.ship.cards.install import install_lines
from tanzaku.ship.cards.text import card_text
from tanzaku.ship.certificate import CERTIFICATE_FILE, Form, bundle_bytes, read_certificate
from tanzaku.ship.manifest import CARD_FILE
from tanzaku.words import Language, words_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_LIBRARIES: dict[Form, str] = {
    "transformers": "transformers",
    "sentence-transformers": "sentence-transformers",
    "peft": "peft",
}


def write_card(
    folder: Path,
    facts: BundleFacts,
    *,
    form: Form = "bundle",
    snippet: Sequence[str] = (),
    compact: bool = False,
    language: Language = "en",
) -> None:
    """Write `README.md` into the folder of a bundle or an export that is complete otherwise.

    Args:
        folder: With its certificate, if it has one.
        facts: What the bundle says of itself, or the one that was exported.
        form: "bundle", or what the export is for.
        snippet: The lines of Python that use an export to another library.
        compact: Whether that needs an encoder which Tanzaku has to write for transformers first.
        language: Of the text.
    """
    certificate = read_certificate(folder) if (folder / CERTIFICATE_FILE).is_file() else None
    card = CardFacts(
        facts, form, certificate, bundle_bytes(folder), snippet, install_lines(folder, form, compact=compact)
    )
    text = card_text(card, words_of(language))
    write_atomically(folder / CARD_FILE, f"---\n{_front_matter(card)}\n---\n\n{text}")


def _front_matter(card: CardFacts) -> str:
    from huggingface_hub import ModelCardData

    facts = card.facts
    results = list(_results(card))
    method = str(facts.method["name"])
    data = ModelCardData(
        language="ja",
        license=card.license or "unknown",
        library_name=_LIBRARIES.get(card.form, "tanzaku"),
        pipeline_tag="text-classification",
        base_model=card.base_model,
        metrics=["accuracy", "f1"] if results else None,
        tags=["tanzaku", "text-classification", "japanese", method, *_form_tags(card.form)],
        model_name=card.name if results else None,
        eval_results=results or None,
    )
    return str(data.to_yaml(line_break="\n"))


def _form_tags(form: Form) -> list[str]:
    return [] if form == "bundle" else [form]


def _results(card: CardFacts) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    for split in card.published_splits:
        scores, interval = split.scores, split.macro_f1_interval
        measures: tuple[tuple[str, str, float, tuple[float, float] | None, dict[str, Any]], ...] = (
            ("accuracy", "Accuracy", scores.accuracy, scores.accuracy_interval, {}),
            ("f1", "Macro F1", scores.macro_f1, interval, {"average": "macro"}),
        )
        for kind, name, value, ends, settings in measures:
            yield EvalResult(
                task_type="text-classification",
                dataset_type=split.data,
                dataset_name=split.data,
                dataset_split=split.name,
                dataset_args={"documents": scores.documents},
                metric_type=kind,
                metric_name=name,
                metric_value=value,
                metric_args=settings | ({"interval_95": list(ends)} if ends else {}),
            )
