"""Pages from synthetic records, without the figures and files that a whole report takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tanzaku.analysis.arms import sections_of
from tanzaku.analysis.evidence import evidence_of
from tanzaku.analysis.predictions import run_key
from tanzaku.data.dataset import Dataset
from tanzaku.report.page.build import PageInput, page_html
from tanzaku.study.record import FinishedRun, RunRecord
from tanzaku.words import Language, words_of
from tests.report.records import baseline, finished, lora, run_predictions, training


def page(
    records: Sequence[RunRecord],
    *,
    language: Language = "en",
    margin: float = 0.005,
    predictions: bool = True,
    dataset: Dataset | None = None,
) -> str:
    """The page of some records."""
    finished_runs = [record for record in records if isinstance(record, FinishedRun)]
    known = {run_key(record): run_predictions(record) for record in finished_runs if predictions}
    sections = sections_of(records)
    given = PageInput(
        sections=sections,
        evidence=[evidence_of(section, known, margin=margin) for section in sections],
        records=records,
        predictions=known,
        folders={run_key(record): Path("study") / f"run-{place}" for place, record in enumerate(records)},
        runs=Path("study"),
        margin=margin,
        dataset=dataset,
    )
    return page_html(given, words=words_of(language))


def seeds_study() -> list[RunRecord]:
    """TF-IDF once, full fine-tuning and two ranks with three seeds each; r=8 comes near the best for less."""
    arms = [
        ({"name": "full"}, 5e-5, (0.931, 0.933, 0.935)),
        (lora(2), 5e-4, (0.85, 0.86, 0.84)),
        (lora(8), 5e-4, (0.930, 0.932, 0.931)),
    ]
    return [
        baseline(accuracy=0.90),
        *(
            finished(method, accuracy=accuracy, seed=seed, learning_rate=rate, training=training(rate))
            for method, rate, accuracies in arms
            for seed, accuracy in enumerate(accuracies)
        ),
    ]
