"""From a file of inquiries to a bundle: the budgets, resumption, the verdict, the page and the study."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tanzaku
from tanzaku.errors import BundleError, DataError, SpecError
from tanzaku.files import folder_bytes
from tanzaku.fitting.finish import nice
from tanzaku.fitting.race import RunBegins
from tanzaku.fitting.run import FitResult, fit
from tanzaku.study.process import StudyInterrupted
from tanzaku.study.record import FinishedRun
from tanzaku.study.runs import read_records
from tests.fitting.inquiries import inquiries, write_inquiries

FEW_TERMS: dict[str, Any] = {
    "method": "tfidf-svm",
    "analyzer": "character",
    "max_terms": 12,
    "longest_ngram": 1,
    "weight_bits": 8,
}
MANY_TERMS: dict[str, Any] = {**FEW_TERMS, "max_terms": 800, "longest_ngram": 3, "weight_bits": 32}
HEAD: dict[str, Any] = {"method": "head", "epochs": 1, "max_tokens": 32}
MAX_MB, MAX_MS = 0.08, 2000.0


@dataclass(frozen=True)
class Fitted:
    """A fit that was interrupted and made again, and what had ended before."""

    result: FitResult
    before: dict[str, str]
    """The ends of the runs that were there before, by their names and folders."""
    events: list[RunBegins]
    """Of the second call."""
    source: Path


def _ends(folder: Path) -> dict[str, str]:
    return {str(path.parent): path.read_text(encoding="utf-8") for path in folder.rglob("record.json")}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Fitted:
    """Stopped when the third candidate of the first fold was to begin."""
    folder = tmp_path_factory.mktemp("fit")
    source = write_inquiries(folder / "inquiries.csv")
    arguments: dict[str, Any] = {
        "text": "本文",
        "label": "分類",
        "max_mb": MAX_MB,
        "max_ms": MAX_MS,
        "margin": 0.01,
        "out": folder / "classifier",
        "encoder": str(tiny_encoder),
        "candidates": [FEW_TERMS, MANY_TERMS, HEAD],
        "folds": 2,
        "language": "ja",
    }
    events: list[RunBegins] = []

    def stop(event: RunBegins) -> None:
        events.append(event)
        if len(events) == 3:
            raise StudyInterrupted

    with pytest.raises(StudyInterrupted):
        fit(source, listener=stop, **arguments)
    before = _ends(folder / "classifier-study")
    events.clear()
    return Fitted(fit(source, listener=events.append, **arguments), before, events, source)


def test_it_resumes_without_repeating_what_had_ended(fitted: Fitted) -> None:
    after = _ends(fitted.result.folder)
    assert len(fitted.before) == 2
    assert fitted.before.items() <= after.items()


def test_the_bundle_classifies_and_meets_the_budgets_weighed_and_timed_from_outside(fitted: Fitted) -> None:
    bundle = fitted.result.bundle
    assert bundle is not None
    final = fitted.result.report.findings.final
    assert final is not None
    assert folder_bytes(bundle) == final.costs.total_bytes <= 1e6 * MAX_MB
    classifier = tanzaku.Classifier.load(bundle)
    texts, labels = inquiries(40, seed=9, mislabelled=0.0)
    seconds = []
    for text in texts[:9]:
        began = time.perf_counter()
        classifier([text])
        seconds.append(time.perf_counter() - began)
    assert sorted(seconds)[4] <= MAX_MS / 1000
    assert final.costs.memory_bytes > 20e6
    right = [
        prediction.label == label for prediction, label in zip(fitted.result.classifier(texts), labels, strict=True)
    ]
    assert sum(right) > 32


def test_the_smallest_that_is_not_worse_is_taken_and_the_others_are_accounted_for(fitted: Fitted) -> None:
    findings = fitted.result.report.findings
    assert len({(str(one.name), one.form) for one in findings.candidates}) == len(findings.candidates) == 4
    few, many = (next(one for one in findings.candidates if number in str(one.name)) for number in ("12", "800"))
    assert few.selected is not None or few.reason == "worse"
    assert many.recommended
    assert many.costs is not None
    assert findings.selection is not None
    assert findings.documents == 200
    assert findings.mistakes is not None
    assert findings.selection.documents == sum(count for _, _, count in findings.mistakes.recalls)
    whole = next(one for one in findings.candidates if one.form == "whole")
    assert (whole.reason, whole.costs) == ("megabytes", None)  # known before anything was trained
    assert whole.least_bytes > 1e6 * MAX_MB
    int8 = next(one for one in findings.candidates if one.form == "int8")
    assert int8.costs is not None
    assert int8.least_bytes < int8.costs.total_bytes < whole.least_bytes


def test_the_study_file_has_the_runs_that_were_made(fitted: Fitted) -> None:
    """The final run is one of its runs, so that the study does not repeat it."""
    study = tanzaku.read_study(fitted.result.folder / "study.toml")
    assert study == fitted.result.study
    made = read_records(fitted.result.folder / "runs")
    assert [record.method for record in made] == ["tfidf-svm"]
    dataset = tanzaku.load_dataset(study.data.source)
    assert made[0].data.fingerprint == dataset.fingerprint
    assert isinstance(made[0], FinishedRun)
    only = study.model_copy(update={"arms": tuple(arm for arm in study.arms if arm["method"] == "tfidf-svm")})
    again = tanzaku.run_study(only, out=fitted.result.folder / "runs")
    assert made[0].ended in {record.ended for record in again}


def test_the_page_begins_with_the_verdict(fitted: Fitted) -> None:
    report = fitted.result.report
    page = report.page.read_text(encoding="utf-8")
    first = page[page.index("<main>") : page.index("</section>")]
    for sentence in report.sentences[:2]:
        assert sentence in first
    assert 'lang="ja"' in page
    assert "tanzaku classify" in first
    assert "MB" in first
    assert "ms" in first
    findings = report.findings
    assert findings.mistakes is not None
    assert f"{findings.mistakes.wrong}" in first
    assert findings.curve is not None
    assert [gain.more for gain in findings.curve.gains] == [50, 200]
    assert findings.curve.points[0].labels < findings.curve.points[-1].labels


def test_another_file_is_not_mixed_into_the_folder(fitted: Fitted) -> None:
    with pytest.raises(DataError, match="holds a fit of other documents"):
        fit(inquiries(80), study=fitted.result.folder, candidates=[FEW_TERMS])


def test_nothing_is_trained_if_no_candidate_can_meet_the_budgets(tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(SpecError, match=r"no candidate can meet the budgets: the smallest takes \S+ MB at least"):
        fit(inquiries(40), study=tmp_path, encoder=str(tiny_encoder), candidates=[HEAD], max_mb=0.001)
    assert not list(tmp_path.rglob("record.json"))


def test_no_classifier_is_recommended_at_chance_level(tmp_path: Path) -> None:
    texts, labels = inquiries(60, mislabelled=1.0)
    table = pd.DataFrame({"body": texts, "kind": labels})
    result = fit(table, text="body", label="kind", study=tmp_path, candidates=[FEW_TERMS], folds=2)
    findings = result.report.findings
    assert findings.selection is not None
    assert findings.selection.recommended is None
    assert result.bundle is None
    assert not (tmp_path / "bundle").exists()
    assert "none can be distinguished from always answering the most frequent class" in str(result.report)
    with pytest.raises(BundleError, match="there is no classifier"):
        _ = result.classifier


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_mb": 0.0}, "max_mb = 0; give a number above 0"),
        ({"minutes": -1}, "minutes = -1"),
        ({"folds": 1}, "folds = 1"),
        ({"max_megabytes": 1}, "fit has no option 'max_megabytes'; choose among text, label"),
        ({"candidates": [{**FEW_TERMS, "penalty": [1.0, 5.0]}]}, "give a candidate for each"),
        ({"candidates": [{"method": "svm"}]}, "there is no method 'svm'"),
    ],
)
def test_what_is_asked_wrongly_is_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        fit(inquiries(40), study=tmp_path, **{"candidates": [FEW_TERMS], **options})


def test_numbers_of_further_labels_are_round() -> None:
    assert [nice(number) for number in (1, 3, 7, 49, 50, 215, 999)] == [1, 2, 5, 20, 50, 200, 500]
