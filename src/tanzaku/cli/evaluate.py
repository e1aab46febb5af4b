"""`tanzaku evaluate`: how good a bundle is on labelled documents."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tanzaku.cli.abstaining import Promise
from tanzaku.cli.classifying import BundleName, Model, Reading, folder_of
from tanzaku.cli.evaluation_text import evaluation_text
from tanzaku.cli.json_text import json_text
from tanzaku.cli.text_source import refuse_without_effect
from tanzaku.cli.threads import Threads
from tanzaku.display import plain_console
from tanzaku.errors import DataError

if TYPE_CHECKING:
    from tanzaku.analysis.evaluation import Evaluation
    from tanzaku.ship.classifier import Classifier

_MOST_NAMED = 5  # unknown labels in a message


@dataclass(frozen=True)
class _Documents:
    texts: list[str]
    labels: list[str]


def evaluate(
    bundle: BundleName,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Labelled documents: a .csv, .tsv, .xlsx, .jsonl or .parquet file.")
    ],
    reading: Reading,
    promise: Promise,
    model: Model,
    label_column: Annotated[str, typer.Option(help="Column or JSON key of the file that has the labels.")] = "label",
    format: Annotated[Literal["text", "json"], typer.Option(help="Output format.")] = "text",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder, new or empty, for evaluation.json, evaluation.txt and the reliability curve."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Evaluate a bundle on labelled documents that it was not trained on.

    Shows accuracy and macro-F1, precision and recall of each class, all with 95 % intervals, what always answering the
    most frequent class would give, how far the probabilities are from the shares of correct labels, and the mistakes
    with the highest probabilities. With --error-rate, shows how many documents are answered and how many of them wrong.

    Examples:

    ```
    tanzaku evaluate my-bundle labelled.csv
    tanzaku evaluate my-bundle labelled.csv --column 本文 --label-column 分類 --error-rate 2%
    tanzaku evaluate my-bundle labelled.csv --format json
    tanzaku evaluate my-bundle labelled.csv --out my-evaluation
    ```
    """
    del threads  # settled already
    promise.check()
    if out is not None:
        _check_out(out)
    documents = _read(file, reading, label_column=label_column)
    classifier = model.load(folder_of(bundle))
    documents = _with_known_labels(documents, classifier, file)
    evaluation = _evaluate(documents, classifier, promise)
    content = _as_json(evaluation, documents)
    text = evaluation_text(evaluation, documents.texts)
    if out is not None:
        _write(out, evaluation, content, text)
    typer.echo(json_text(content) if format == "json" else text, nl=format == "json")
    if out is not None:
        plain_console(stderr=True, soft_wrap=True).print(f"Written to {out}.")


def _read(file: Path, reading: Reading, *, label_column: str) -> _Documents:
    """Texts and labels, read as in training."""
    from tanzaku.data.characters import is_empty
    from tanzaku.data.rows import label_of
    from tanzaku.data.streaming import Remedies, stream_rows, warn_of_other_sheets

    options = reading.options()
    refuse_without_effect(file, options)
    remedies = Remedies(
        repeated="Rename all but one, or name another column with --label-column.",
        none="Give a table that has the labels too.",
    )
    rows = stream_rows(file, options, keep_columns=True, distinct=(label_column,), remedies=remedies)
    found = _Documents([], [])
    for row in rows:
        if label_column not in row.columns:
            place = f"{file}: {row.place}" if found.texts else str(file)  # no table's row lacks what others have
            raise DataError(
                f"{place}: there is no column named {label_column!r}. The columns are: "
                f"{', '.join(map(repr, row.columns))}. Name the one with the labels with --label-column."
            )
        label = label_of(row.columns[label_column], f"{file}: {row.place}")
        if is_empty(label):
            raise DataError(f"{file}: {row.place} has no label in the column {label_column!r}. Give it one.")
        found.texts.append(row.text)
        found.labels.append(label)
    if not found.texts:
        raise DataError(f"{file}: there are no documents to evaluate on. Give a file with texts and labels.")
    warn_of_other_sheets(file, options)
    return found


def _with_known_labels(documents: _Documents, classifier: "Classifier", file: Path) -> _Documents:
    """The documents with the bundle's labels, which need not have the same white space around them or the same form of
    Unicode: macOS writes names in NFD."""
    from collections import Counter
    from unicodedata import normalize

    known = classifier.label_names
    composed = {normalize("NFC", label): label for label in known}
    labels = [
        label if label in known else composed.get(normalize("NFC", label.strip()), label.strip())
        for label in documents.labels
    ]
    unknown = Counter(label for label in labels if label not in known)
    if unknown:
        named = ", ".join(f"{label!r} ({count})" for label, count in unknown.most_common(_MOST_NAMED))
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        raise DataError(
            f"{file} has labels that the bundle does not have: {named}{more}. The bundle's labels are: "
            f"{', '.join(map(repr, known))}. Rename or remove these documents."
        )
    return replace(documents, labels=labels)


def _evaluate(documents: _Documents, classifier: "Classifier", promise: Promise) -> "Evaluation":
    import numpy as np

    from tanzaku.analysis.evaluation import evaluate as compare
    from tanzaku.measure.calibration import softmax

    threshold = promise.threshold(classifier)
    scores = classifier.scores(documents.texts)  # (documents, labels)
    return compare(
        np.array([classifier.label_names.index(label) for label in documents.labels]),
        scores.argmax(axis=1),
        softmax(scores, temperature=classifier.facts.calibration.temperature).max(axis=1),
        label_names=classifier.label_names,
        threshold=threshold,
    )


def _as_json(evaluation: "Evaluation", documents: _Documents) -> dict[str, Any]:
    content = asdict(evaluation)
    for mistake in content["mistakes"]:
        mistake["text"] = documents.texts[mistake["number"] - 1]
    return content


def _check_out(out: Path) -> None:
    """Whether the evaluation can be written, before a model is loaded."""
    from tanzaku.extras import require_extra
    from tanzaku.files import check_new, check_writable

    require_extra("report", purpose="the reliability curve of --out")
    check_new(out)
    check_writable(out, replaced=True)


def _write(out: Path, evaluation: "Evaluation", content: dict[str, Any], text: str) -> None:
    from tanzaku.files import atomic_folder, write_json_atomically
    from tanzaku.report.figures import render_chart
    from tanzaku.report.reliability_chart import reliability_chart
    from tanzaku.words import words_of

    words = words_of("en")
    chart = reliability_chart([("this bundle", evaluation.reliability)], words=words)
    with atomic_folder(out) as folder:
        write_json_atomically(folder / "evaluation.json", content)
        (folder / "evaluation.txt").write_text(text, encoding="utf-8")
        for suffix, drawn in render_chart(chart, words=words).items():
            (folder / f"reliability.{suffix}").write_bytes(drawn)
