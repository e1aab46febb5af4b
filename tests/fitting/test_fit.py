"""From a file of inquiries to a bundle: the budgets, resumption, the verdict, the page and the study."""

import io
import json
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from filelock import FileLock
from rich.cells import cell_len
from rich.console import Console

import tanzaku
from benchmarks.inquiries import inquiries, write_inquiries
from tanzaku.analysis.abstention import Threshold
from tanzaku.cli.fit import _conclude, _say
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.options import ReadOptions
from tanzaku.data.prepared import write_prepared
from tanzaku.display import plain_console
from tanzaku.errors import BundleError, DataError, ProcessError, SpecError, TanzakuWarning
from tanzaku.files import folder_bytes
from tanzaku.fitting import race
from tanzaku.fitting.budgets import Costs
from tanzaku.fitting.candidate_table import candidates_table, remark
from tanzaku.fitting.charts import answer_rows
from tanzaku.fitting.compare import _write_study
from tanzaku.fitting.documents import labelled
from tanzaku.fitting.finish import nice
from tanzaku.fitting.forms import weigh
from tanzaku.fitting.history import HISTORY_FILE
from tanzaku.fitting.measuring import Measured
from tanzaku.fitting.options import FitOptions
from tanzaku.fitting.race import Behind, Making, Race, Reason, RunBegins
from tanzaku.fitting.run import FitResult, _job, fit
from tanzaku.fitting.sentences import verdict_text, why_no_promise
from tanzaku.measure.metrics import accuracy_interval
from tanzaku.ship.bundle import read_facts
from tanzaku.ship.certificate import bundle_bytes
from tanzaku.ship.held_out import read_held_out
from tanzaku.study.engine import StudyEvent
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.expansion import expand, parse_study
from tanzaku.study.planned import PlannedRun
from tanzaku.study.predictions import read_predictions
from tanzaku.study.process import StudyInterrupted
from tanzaku.study.record import FailedRun, FinishedRun, read_record, write_record
from tanzaku.study.runs import read_records
from tanzaku.words import ENGLISH, Words, words_of
from tests.browser import chromium
from tests.report.page.test_browser import FITS
from tests.tiny import make_documents

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
    arguments: dict[str, Any]
    seconds_left: float
    """When the first call was stopped."""


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
        "shared_dictionary": True,  # which the encoder's tokenizer needs
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
    left = events[-1].seconds_left
    events.clear()
    # Now two candidates at the same time.
    return Fitted(fit(source, listener=events.append, jobs=2, **arguments), before, events, source, arguments, left)


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are weighed but not timed, for which each takes a process of its own."""
    monkeypatch.setattr("tanzaku.fitting.budgets.measure_bundle", lambda bundle, texts: Measured(1.0, 100.0, 1))
    monkeypatch.setattr(
        "tanzaku.fitting.budgets.measure_encoder", lambda encoder, texts, *, labels: Measured(1.0, 100.0, 1)
    )


@pytest.mark.parametrize(
    ("asked", "making"),
    [({}, Making(2)), ({"jobs": 1}, Making(1)), ({"ray": RayOptions()}, Making(None, RayOptions()))],
    ids=["usual", "asked", "ray"],
)
def test_each_core_trains_a_candidate_unless_jobs_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], making: Making
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    source = write_inquiries(tmp_path / "inquiries.csv")
    options = FitOptions.of({"text": "本文", "label": "分類", "out": tmp_path / "classifier", **asked})
    assert _job(source, options, lambda _: None).making == making


def test_it_resumes_without_repeating_what_had_ended(fitted: Fitted) -> None:
    after = _ends(fitted.result.folder)
    assert len(fitted.before) == 2
    assert fitted.before.items() <= after.items()


def test_the_time_of_a_call_that_was_interrupted_counts(fitted: Fitted) -> None:
    assert fitted.events[0].seconds_left <= fitted.seconds_left < 20 * 60
    (call,) = json.loads((fitted.result.folder / HISTORY_FILE).read_text(encoding="utf-8"))["calls"]
    assert call["seconds"] >= 20 * 60 - fitted.events[-1].seconds_left


def test_the_same_command_shows_the_finished_result_again_at_once(fitted: Fitted) -> None:
    bundle = fitted.result.bundle
    assert bundle is not None
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*") if path.is_file()}
    events: list[RunBegins] = []
    again = fit(fitted.source, listener=events.append, **fitted.arguments)
    assert (fitted.result.already_done, again.already_done, events) == (False, True, [])
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*") if path.is_file()} == before
    assert again.report.sentences == fitted.result.report.sentences
    words = words_of("ja")
    assert candidates_table(again.report.findings, words=words) == candidates_table(
        fitted.result.report.findings, words=words
    )
    longer = fit(fitted.source, listener=events.append, minutes=40, **fitted.arguments)  # nothing is left to do
    assert (longer.already_done, longer.report.sentences, events) == (False, again.report.sentences, [])
    # An outcome with another number of entries is of another race: this one is held, with the runs that there are.
    history = fitted.result.folder / HISTORY_FILE
    content = json.loads(history.read_text(encoding="utf-8"))
    del content["calls"][0]["outcome"]["dropped"][0]
    history.write_text(json.dumps(content), encoding="utf-8")
    raced = fit(fitted.source, listener=events.append, minutes=40, **fitted.arguments)
    assert (raced.already_done, raced.report.sentences, events) == (False, again.report.sentences, [])


def test_a_bundle_is_only_replaced_by_the_same_command(fitted: Fitted) -> None:
    with pytest.raises(BundleError, match="already contains a bundle; choose a new folder, or replace it with --force"):
        fit(fitted.source, **{**fitted.arguments, "margin": 0.02})


def test_a_bundle_that_other_options_made_is_not_replaced_by_an_earlier_command(fitted: Fitted) -> None:
    other = {**fitted.arguments, "margin": 1.0}  # so that the smallest is taken
    bundle = fit(fitted.source, force=True, **other).bundle
    assert bundle is not None
    written = _contents(bundle)
    with pytest.raises(BundleError, match="already contains a bundle; choose a new folder, or replace it with --force"):
        fit(fitted.source, **fitted.arguments)
    assert _contents(bundle) == written
    assert fit(fitted.source, **other).already_done
    fit(fitted.source, force=True, **fitted.arguments)
    assert _contents(bundle) != written


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bundle_promises_the_error_rates_of_the_verdict(fitted: Fitted) -> None:
    findings = fitted.result.report.findings
    assert {found is None for _, found in findings.answers} == {True, False}
    for rate, found in findings.answers:
        if found is None:
            with pytest.raises(BundleError, match=r"\d documents of its cross-validation"):
                fitted.result.classifier.threshold(rate)
        else:
            assert fitted.result.classifier.threshold(rate) == replace(found, cross_validated=True)


def test_the_verdict_accounts_for_every_document_and_for_rates_that_are_not_promised(fitted: Fitted) -> None:
    findings = fitted.result.report.findings
    final, text = findings.final, verdict_text(findings, words=ENGLISH)
    assert final is not None
    assert final.train_documents + final.val_documents + final.test.documents == findings.documents
    assert [one.documents for one in fitted.events if one.fold is None] == [final.train_documents]
    assert text.test is not None
    begins = f"Trained on {final.train_documents} documents, with {final.val_documents} more for validation"
    assert text.test.startswith(begins)
    assert text.answers is not None
    assert re.search(r"--error-rate \d+% it answers \d+ of the \d+ documents of the folds, \d+ of them", text.answers)
    assert "can't be promised: " in text.answers
    assert why_no_promise(0.01, documents=160, words=ENGLISH) == "even without a mistake it takes 299 documents"
    assert "mistakes among the most probable" in why_no_promise(0.02, documents=160, words=ENGLISH)


@pytest.mark.parametrize("width", [60, 80, 240])
def test_on_a_terminal_the_candidates_fit_the_window(fitted: Fitted, width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None, soft_wrap=True)
    _conclude(fitted.result, console, out=fitted.result.report.page, language="ja")
    table = out.getvalue().partition(fitted.result.report.sentences[0])[0].partition("report.html")[0]
    assert "|" not in table
    assert max(map(cell_len, table.splitlines())) <= width
    assert ("メモリー" in table) == (width == 240)


def test_a_learning_curve_is_one_line_of_progress(fitted: Fitted, capsys: pytest.CaptureFixture[str]) -> None:
    event = next(one for one in fitted.events if one.share < 1)
    said = set[str]()
    for fold in (1, 2):
        for share in (0.25, 0.5):
            _say(replace(event, fold=fold, share=share), plain_console(stderr=True, soft_wrap=True), said)
    assert capsys.readouterr().err.count("learning curve: ") == 1


def test_text_methods_have_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no steps, so that it would stay empty."""
    shown: list[str | None] = []

    def watched(*_: Any, **options: Any) -> Iterator[StudyEvent]:
        shown.append(options["shown"])
        yield from ()

    monkeypatch.setattr(race, "make_runs", watched)
    documents = make_documents(8, seed=0)
    dataset = Dataset(name="mine", train=documents, val=documents, test=documents, label_names=())
    for kind in ("text", "encoder"):
        planned: Any = SimpleNamespace(spec=SimpleNamespace(kind=kind))
        race.make_run(planned, dataset, study="mine", deadline=None)
    assert shown == ["nothing", None]


def test_the_bundle_classifies_and_meets_the_budgets_weighed_and_timed_from_outside(fitted: Fitted) -> None:
    bundle = fitted.result.bundle
    assert bundle is not None
    final = fitted.result.report.findings.final
    assert final is not None
    assert bundle_bytes(bundle) == final.costs.total_bytes <= 1e6 * MAX_MB
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
    assert len({(str(one.name), one.form) for one in findings.candidates}) == len(findings.candidates) == 5
    few, many = (next(one for one in findings.candidates if number in str(one.name)) for number in ("12", "800"))
    assert few.selected is not None or few.reason == "worse"
    assert many.recommended
    assert many.costs is not None
    assert findings.selection is not None
    assert findings.documents == 200
    assert findings.mistakes is not None
    assert findings.selection.documents == sum(count for _, _, count in findings.mistakes.recalls)
    whole = next(one for one in findings.candidates if one.form == "stored")
    assert (whole.reason, whole.costs) == ("megabytes", None)  # known before anything was trained
    assert whole.least_bytes > 1e6 * MAX_MB
    int4, int8 = (next(one for one in findings.candidates if one.form == form) for form in ("int4", "int8"))
    assert int4.costs is not None
    assert int8.costs is not None
    assert int8.least_bytes < int8.costs.total_bytes < whole.least_bytes
    assert int4.costs.total_bytes < int8.costs.total_bytes


def test_the_study_file_has_the_runs_that_were_made(fitted: Fitted) -> None:
    """The final run is one of its runs, so that the study does not repeat it."""
    study = tanzaku.read_study(fitted.result.folder / "study.toml")
    assert study == fitted.result.study
    made = read_records(fitted.result.folder / "runs")
    assert {record.method for record in made} == {"tfidf-svm"}
    dataset = tanzaku.load_dataset(study.data.source)
    assert made[0].data.fingerprint == dataset.fingerprint
    assert isinstance(made[0], FinishedRun)
    only = study.model_copy(update={"arms": tuple(arm for arm in study.arms if arm["method"] == "tfidf-svm")})
    again = tanzaku.run_study(only, out=fitted.result.folder / "runs")
    assert made[0].ended in {record.ended for record in again}


def test_the_page_begins_with_the_verdict(fitted: Fitted) -> None:
    report = fitted.result.report
    page = report.page.read_text(encoding="utf-8").replace("\u00a0", " ")
    first = page[page.index("<main>") : page.index("</section>")]
    for sentence in report.sentences[:2]:
        assert sentence in first
    assert 'lang="ja"' in page
    assert "tanzaku</span> <span>classify</span>" in first
    assert "MB" in first
    assert "ms" in first
    findings = report.findings
    assert findings.mistakes is not None
    assert f"{findings.mistakes.wrong}" in first
    assert findings.curve is not None
    assert [gain.more for gain in findings.curve.gains] == [50, 200]
    assert findings.curve.points[0].labels < findings.curve.points[-1].labels
    assert 'id="chart-2-curve"' in page
    assert page.count('class="mark hollow"') >= len(findings.curve.gains)


def test_the_page_says_how_far_probabilities_can_be_trusted(fitted: Fitted) -> None:
    """Of all documents of the folds, counted here by the stored predictions."""
    report = fitted.result.report
    findings = report.findings
    assert findings.selection is not None
    assert findings.reliability is not None
    assert findings.reliability.documents == findings.selection.documents
    stored = [read_predictions(path.parent) for path in fitted.result.folder.glob("folds/*/tfidf*800*/record.json")]
    probabilities = np.concatenate([one.probabilities for one in stored if one.probabilities])
    correct = np.concatenate([np.array(one.classes) == np.array(one.predicted) for one in stored])
    assert len(correct) == findings.selection.documents
    page = report.page.read_text(encoding="utf-8")
    assert 'id="chart-1-calibration"' in page
    promised = [(rate, found) for rate, found in findings.answers if found is not None]
    assert promised
    for rate, found in promised:
        answered = probabilities >= found.probability
        assert answered.sum() == found.answered
        assert (~correct[answered]).mean() <= rate
        assert f"{found.probability:.4f}" in page
    first = page[page.index("<main>") : page.index("</section>")]
    assert "--error-rate" in first


def test_only_an_earlier_fit_is_continued_in_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="contains files but no earlier fit"):
        fit(inquiries(60), study=tmp_path, candidates=[FEW_TERMS])
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_a_fit_is_known_by_its_own_files_where_locks_leave_none(fitted: Fitted) -> None:
    """Some versions of filelock, and folders without locks, remove the file when the lock is released."""
    (fitted.result.folder / ".lock").unlink(missing_ok=True)
    assert fit(fitted.source, jobs=2, **fitted.arguments).already_done


def test_the_commands_in_a_study_file_can_be_copied(tmp_path: Path) -> None:
    study = {"name": "s", "data": {"source": "d"}, "arms": [FEW_TERMS]}
    (folder := tmp_path / "私の 分類器").mkdir()
    _write_study(parse_study(study), folder)
    lines = (folder / "study.toml").read_text(encoding="utf-8").splitlines()
    commands = [shlex.split(line.removeprefix("#")) for line in lines if "tanzaku study" in line]
    assert commands[0] == ["tanzaku", "study", "run", f"{folder / 'study.toml'}", "--out", f"{folder / 'runs'}"]
    assert commands[1] == ["tanzaku", "study", "report", f"{folder / 'runs'}"]


def test_a_candidate_may_say_none_for_a_default(tmp_path: Path) -> None:
    study: dict[str, Any] = {"name": "s", "data": {"source": "d"}, "arms": [FEW_TERMS | {"max_terms": None}]}
    _write_study(parse_study(study), tmp_path)
    assert expand(tanzaku.read_study(tmp_path / "study.toml")) == expand(parse_study(study))


def test_what_data_import_wrote_is_taken_as_a_whole(tmp_path: Path) -> None:
    made = tanzaku.import_documents(list(zip(*inquiries(60), strict=True)), name="mine")
    write_prepared(made, tmp_path)
    read = labelled(tmp_path, ReadOptions())
    assert (read.name, len(read.documents)) == ("mine", 60)


def test_the_page_is_in_one_language_and_names_the_smallest_of_the_bundles_that_were_compared(fitted: Fitted) -> None:
    findings = fitted.result.report.findings
    page = fitted.result.report.page.read_text(encoding="utf-8")
    for english in ("Head only", "max terms", "analyzer", "more labels"):
        assert english not in page
        assert not any(english in sentence for sentence in fitted.result.report.sentences)
    assert "分類ヘッドのみ" in page
    chosen = findings.recommended
    assert chosen is not None
    assert chosen.costs is not None
    # The recommended bundle has grown with its training documents; the sizes that decided are those of before.
    grown = replace(chosen, costs=replace(chosen.costs, total_bytes=10**9))
    others = tuple(one for one in findings.candidates if one is not chosen)
    sentences = [
        verdict_text(replace(findings, candidates=(one, *others)), words=ENGLISH).sure for one in (chosen, grown)
    ]
    assert sentences[0] == sentences[1]


def test_the_page_fits_every_screen(fitted: Fitted) -> None:
    with chromium() as browser:
        for width in (390, 768, 1280):
            opened = browser.new_page(viewport={"width": width, "height": 800})
            opened.goto(fitted.result.report.page.as_uri())
            assert opened.evaluate("document.documentElement.scrollWidth") == width
            assert opened.evaluate(FITS) == [], width
            rows = opened.evaluate(
                "[...document.querySelectorAll('.results tbody tr')].map(one => one.getBoundingClientRect().height)"
            )
            assert max(rows) < 200, width  # no column is so narrow that its words are set one below another
            opened.close()


def test_why_a_candidate_dropped_out_is_a_sentence(fitted: Fitted) -> None:
    one = next(one for one in fitted.result.report.findings.candidates if not one.recommended)

    def remarks(reason: Reason, detail: str = "", needed: float | None = None, words: Words = ENGLISH) -> str:
        return remark(replace(one, reason=reason, detail=detail, needed_seconds=needed), words=words)

    behind = replace(one, reason="worse", behind=Behind(1, 35, 0.25, 0.9429))
    figures = "worse than the best: 25.00 % compared with 94.29 % on 35 documents (1 fold)"
    assert remark(behind, words=ENGLISH) == figures
    assert remarks("time", needed=24.2) == "no time left; it would need about 24 s more"
    assert remarks("time", needed=240) == "no time left; it would need about 4 min more"
    japanese = words_of("ja")
    assert "24 秒" in remarks("time", needed=24.2, words=japanese)
    assert "4 分" in remarks("time", needed=240, words=japanese)
    assert remarks("megabytes") == "larger than --max-mb allows"
    assert remarks("time") == "no time left"
    assert remarks("failed", "no memory left") == "failed: no memory left"


def test_what_there_was_no_time_for_is_said(fitted: Fitted) -> None:
    findings = fitted.result.report.findings
    assert findings.recommended is not None
    late = [
        replace(one, reason="time", selected=None, behind=None) for one in findings.candidates if one.form != "text"
    ]
    text = [one for one in findings.candidates if one.form == "text"]
    short = replace(findings, candidates=(*text, *late), folds=1, time_over=True)
    said = verdict_text(short, words=ENGLISH).every
    assert "Only 1 of the 2 folds decided, because there was no time for the others." in said
    assert len(late) > 1
    assert f"There was no time to compare {len(late)} candidates." in said  # as many as the table has rows of them
    table = "The table shows how much more time candidates need, where it is known."
    assert table not in said
    known = replace(short, candidates=(*text, *(replace(one, needed_seconds=24.2) for one in late)))
    assert table in verdict_text(known, words=ENGLISH).every
    assert "No other candidate that was compared was more accurate." in said
    lonely = replace(short, candidates=(findings.recommended, *late))
    assert "No other candidate was compared with it." in verdict_text(lonely, words=ENGLISH).every
    none = replace(short, candidates=tuple(late), selection=None, folds=0, final=None)
    assert any(one.startswith("There was no time") for one in verdict_text(none, words=ENGLISH).every)
    every = " ".join(verdict_text(findings, words=ENGLISH).every)
    assert "no time" not in every
    assert "No other candidate was more accurate." in every


@pytest.mark.usefixtures("untimed")
def test_if_no_budget_can_be_met_the_time_is_not_to_blame(tmp_path: Path) -> None:
    """What a text method's bundle weighs is known only when it has been trained on the first fold."""
    result = fit(inquiries(60), study=tmp_path, encoder=None, candidates=[FEW_TERMS], folds=3, max_mb=0.001)
    findings = result.report.findings
    assert [(one.reason, findings.folds, findings.more_to_try) for one in findings.candidates] == [
        ("megabytes", 1, False)
    ]
    assert "no candidate was left" in str(result.report)
    assert "no time" not in str(result.report)


@pytest.mark.usefixtures("untimed")
def test_a_candidate_that_can_not_be_measured_fails_without_the_others_and_is_tried_again_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"study": tmp_path, "candidates": [FEW_TERMS, MANY_TERMS], "folds": 2, "margin": 0.0}

    def broken(race: Race, planned: PlannedRun, *others: Any) -> Costs:
        if "12" in planned.run_id:
            raise ProcessError("no memory left")
        return weigh(race, planned, *others)

    with monkeypatch.context() as patched:
        patched.setattr("tanzaku.fitting.rounds.weigh", broken)
        few, many = fit(inquiries(60), **options).report.findings.candidates
    assert (few.reason, few.detail, many.recommended) == ("failed", "no memory left", True)
    again = fit(inquiries(60), **options)
    assert (again.already_done, again.report.findings.candidates[0].reason) == (True, "failed")
    retried = fit(inquiries(60), retry_failed=True, **options)
    assert not retried.already_done
    assert retried.report.findings.candidates[0].reason in (None, "worse")
    run = next(path for path in (tmp_path / "folds" / "1").glob("*/record.json") if "12" in str(path))
    failed = {"status": "failed", "error": "killed", "costs": None}
    kept = FailedRun.model_validate(
        {**{name: one for name, one in json.loads(run.read_text("utf-8")).items() if name in FailedRun.model_fields}}
        | {name: one for name, one in failed.items() if one}
    )
    write_record(kept, run.parent)
    fit(inquiries(60), retry_failed=True, **options)
    assert read_record(run.parent).status == "finished"


@pytest.mark.usefixtures("untimed")
def test_what_was_not_weighed_is_weighed_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"study": tmp_path, "candidates": [FEW_TERMS, MANY_TERMS], "folds": 2, "margin": 0.0}
    before = fit(inquiries(60), **options)
    (tmp_path / "costs.json").unlink()
    after = fit(inquiries(60), **options)
    assert not after.already_done
    sizes = [
        [one.costs.total_bytes for one in made.report.findings.candidates if one.costs] for made in (before, after)
    ]
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) == 2


@pytest.mark.usefixtures("untimed")
def test_other_folds_are_another_question(tmp_path: Path) -> None:
    """Although a single one decides in both cases."""
    source = inquiries(6600)
    options: dict[str, Any] = {"study": tmp_path, "candidates": [FEW_TERMS], "encoder": None}
    assert fit(source, folds=5, **options).report.findings.planned_folds == 1
    with pytest.raises(BundleError, match="already contains a bundle"):
        fit(source, folds=4, **options)


@pytest.mark.usefixtures("untimed")
def test_an_arm_may_read_less_of_each_document_than_the_others(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is not the usual way of reading that is too slow for it."""

    def timed(encoder: dict[str, Any], texts: Any, *, labels: int) -> Measured:
        del texts, labels
        return Measured(10_000.0 if encoder["max_tokens"] > 32 else 1.0, 100.0, 1)

    monkeypatch.setattr("tanzaku.fitting.budgets.measure_encoder", timed)
    long = {**HEAD, "max_tokens": 48}
    options: dict[str, Any] = {"encoder": str(tiny_encoder), "max_ms": MAX_MS, "folds": 2}
    findings = fit(inquiries(60), study=tmp_path, candidates=[HEAD, long], **options).report.findings
    reasons = {one.arm["max_tokens"]: one.reason for one in findings.candidates if one.form == "int4"}
    assert reasons[48] == "milliseconds"
    assert reasons[32] != "milliseconds"
    with pytest.raises(SpecError, match=r"budgets: the encoder takes 10000\.0 ms for one document\. Raise"):
        fit(inquiries(60), study=tmp_path / "long", candidates=[long], **options)


def test_nothing_is_written_if_the_bundle_s_folder_has_other_files(tmp_path: Path) -> None:
    (out := tmp_path / "mine").mkdir()
    (out / "notes.txt").touch()
    source = write_inquiries(tmp_path / "inquiries.csv")
    with pytest.raises(BundleError, match="contains something that is not a bundle; choose a new folder"):
        fit(source, text="本文", label="分類", encoder=None, out=out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inquiries.csv", "mine"]


def test_two_fits_do_not_share_a_folder_at_the_same_time(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(ProcessError, match="another fit is working in"):
        fit(inquiries(60), study=tmp_path, candidates=[FEW_TERMS])


@pytest.mark.usefixtures("untimed")
def test_a_file_that_was_renamed_has_the_same_documents(tmp_path: Path) -> None:
    source = write_inquiries(tmp_path / "inquiries.csv", 60)
    options: dict[str, Any] = {"text": "本文", "label": "分類", "study": tmp_path / "s", "candidates": [FEW_TERMS]}
    fit(source, folds=2, minutes=100_000, **options)  # longer than the system waits at once
    again = fit(source.rename(tmp_path / "renamed.csv"), folds=2, **options)
    assert again.already_done
    assert again.report.findings.name == "renamed"


def test_why_no_error_rate_can_be_promised_is_said(fitted: Fitted) -> None:
    """By as many documents as the promise would rest on."""
    none = replace(fitted.result.report.findings, answers=((0.05, None), (0.2, None)), held_out=13)
    answers = verdict_text(none, words=ENGLISH).answers
    assert answers == "An error rate of 20 % can't be promised: even without a mistake it takes 14 documents."
    assert answer_rows(none, words=ENGLISH)[0][-1] == "even without a mistake it takes 59 documents"


def test_documents_of_a_data_set_are_read_as_the_classifier_reads_others() -> None:
    """Also those of a publication, which a study uses as they are; weights have no effect, and are refused."""
    documents = Documents(("あ\u200bい", "う"), ("a", "b"))
    dataset = Dataset("d", documents, documents, documents, ("a", "b"), published=True)
    with pytest.warns(TanzakuWarning):
        assert labelled(dataset, ReadOptions()).documents.texts[:2] == ("あい", "う")
    texts = Documents(("あ", "う"), ("a", "b"))
    plain = Dataset("d", texts, texts, texts, ("a", "b"))
    with pytest.raises(DataError, match="d has weights of documents, which fit does not use"):
        labelled(replace(plain, train=replace(plain.train, weights=(1.0, 2.0))), ReadOptions())


def test_another_file_is_not_mixed_into_the_folder(fitted: Fitted) -> None:
    with pytest.raises(DataError, match="holds a fit of other documents"):
        fit(inquiries(80), study=fitted.result.folder, candidates=[FEW_TERMS])


@pytest.mark.usefixtures("untimed")
def test_a_candidate_whose_final_bundle_misses_a_budget_gives_way_to_the_next(tmp_path: Path) -> None:
    """With all terms, some 780 in a fold and 870 in the end, a bundle grows; the next has 820 terms at most."""
    source = inquiries(200)
    options: dict[str, Any] = {"folds": 2, "margin": 0.3}
    growing = {"method": "tfidf-svm", "analyzer": "character", "longest_ngram": 3, "weight_bits": 8}
    # Nearly the same penalty, which takes more digits: in the folds, this bundle is a few bytes larger.
    candidates = [growing, {**growing, "max_terms": 820, "penalty": 1.000000000001}]
    free = fit(source, study=tmp_path / "free", candidates=candidates, **options).report.findings
    assert free.recommended is free.candidates[0]
    assert free.recommended.costs is not None
    final_bytes = free.recommended.costs.total_bytes
    tight = (final_bytes - 1) / 1e6
    result = fit(source, study=tmp_path / "tight", candidates=candidates, max_mb=tight, **options)
    findings = result.report.findings
    first, second = findings.candidates
    assert (first.reason, first.best, second.recommended) == ("megabytes", True, True)
    assert second.costs is not None
    assert result.bundle is not None
    assert bundle_bytes(result.bundle) == second.costs.total_bytes < final_bytes
    assert "but after the final training: larger than --max-mb allows" in str(result.report)


@pytest.mark.usefixtures("untimed")
def test_macro_f1_and_groups_are_said_to_decide(tmp_path: Path) -> None:
    texts, labels = inquiries(120)
    result = fit(
        pd.DataFrame({"text": texts, "label": labels, "customer": [row // 3 for row in range(120)]}),
        group="customer",
        study=tmp_path,
        candidates=[{**FEW_TERMS, "max_terms": 60}, MANY_TERMS],
        folds=2,
        margin=0.6,
        choose_by="macro_f1",
    )
    findings = result.report.findings
    assert findings.selection is not None
    best = next(one for one in findings.candidates if one.best)
    assert best.selected is not None
    assert best.selected.score != best.selected.accuracy
    assert not best.recommended
    shown = f"{100 * best.selected.score:.2f}"
    assert f"with a macro-F1 of {shown} %: the difference is" in str(result.report)
    assert findings.final is not None
    assert f"Its macro-F1 there is {100 * findings.final.test.macro_f1:.2f} %." in str(result.report)
    page = result.report.page.read_text(encoding="utf-8")
    assert "Macro-F1 (%)" in page
    assert shown in page
    assert findings.groups == 33  # of 40, those that have no test documents
    assert "These documents are of 33 groups, and those of a group do not count as independent." in page
    test, bundle = findings.final.test, result.bundle
    assert test.accuracy_interval != accuracy_interval(test.correct, test.documents)
    assert bundle is not None
    run = read_facts(bundle).run
    assert run.test.accuracy_interval == test.accuracy_interval
    assert run.val.accuracy_interval != accuracy_interval(
        round(run.val.accuracy * run.val.documents), run.val.documents
    )
    card = (bundle / "README.md").read_text(encoding="utf-8")
    low, high = test.accuracy_interval
    assert f"({100 * low:.2f}–{100 * high:.2f} %)" in card
    assert "The intervals are about other groups of documents" in card
    assert "| Precision | Recall | F1 |" in card
    held_out = read_held_out(bundle)
    assert held_out is not None
    assert len(held_out.correct) == 33  # a document of each
    answers = ((0.2, Threshold(0.5, 0.2, 0.95, documents=33, answered=30, wrong=1)),)
    sentences = verdict_text(replace(findings, answers=answers), words=ENGLISH).answers
    assert sentences is not None
    assert sentences.endswith("For this, one document of each group counts.")


@pytest.mark.usefixtures("untimed")
def test_a_text_counts_once_for_a_promise_and_what_was_left_out_is_said(tmp_path: Path) -> None:
    texts, labels = inquiries(120)
    rows = [*texts, *texts[:60], "", "別の件です。"]
    classes = [*labels, *labels[:60], labels[0], "稀"]
    frame = pd.DataFrame({"text": rows, "label": classes})
    with pytest.warns(TanzakuWarning, match="60 of 180 rows repeat the text of another row"):
        result = fit(
            frame,
            study=tmp_path,
            candidates=[MANY_TERMS],
            folds=2,
            reading=ReadOptions(drop_empty=True, drop_small=2),
        )
    assert result.bundle is not None
    held_out = read_held_out(result.bundle)
    assert held_out is not None
    findings = result.report.findings
    assert findings.selection is not None
    assert len(held_out.correct) < findings.selection.documents
    assert not held_out.grouped
    answers = ((0.2, Threshold(0.5, 0.2, 0.95, documents=90, answered=30, wrong=1)),)
    sentences = verdict_text(replace(findings, answers=answers), words=ENGLISH).answers
    assert sentences is not None
    assert sentences.endswith("For this, one document of each text counts.")
    assert result.tidied[0] == "Left out: 1 row with an empty text."
    page = result.report.page.read_text(encoding="utf-8")
    assert all(done.split("'")[0] in page for done in result.tidied)


@pytest.mark.usefixtures("untimed")
def test_what_nothing_is_known_about_is_said(tmp_path: Path) -> None:
    texts, labels = inquiries(120)
    source = ([*texts, "別の件です。", "他の話です。"], [*labels, "稀", "希"])
    with pytest.warns(TanzakuWarning, match="fewer than 5 different texts"):
        result = fit(source, study=tmp_path, candidates=[MANY_TERMS], folds=2)
    findings = result.report.findings
    assert (findings.only_trained, findings.without_test) == (2, ("希", "稀"))
    page = result.report.page.read_text(encoding="utf-8")
    for said in (
        "The folds say nothing about 2 documents that were trained on in every fold",
        "None of the test documents is of 希, 稀.",
    ):
        assert said in str(result.report)
        assert said in page.replace("\u00a0", " ")


@pytest.mark.usefixtures("untimed")
def test_a_shared_encoder_is_not_counted(tmp_path: Path, tiny_encoder: Path) -> None:
    documents = make_documents(120, seed=1)
    result = fit(
        (documents.texts, documents.labels),
        study=tmp_path,
        encoder=str(tiny_encoder),
        candidates=[{"method": "lora", "epochs": 8, "learning_rate": 1e-2, "patience": 8, "max_tokens": 32}],
        folds=2,
        shared_encoder=True,
        max_mb=0.5,
    )
    (candidate,) = result.report.findings.candidates
    assert candidate.form == "adapter"
    assert result.bundle is not None
    assert candidate.costs is not None
    copied = folder_bytes(result.bundle / "encoder")  # its tokenizer, which is there with the encoder
    assert candidate.costs.total_bytes == bundle_bytes(result.bundle) - copied
    assert not list((result.bundle / "encoder").glob("*.safetensors"))
    right = [
        one.label == label for one, label in zip(result.classifier(documents.texts), documents.labels, strict=True)
    ]
    assert sum(right) > 60  # a third by chance


@pytest.mark.usefixtures("untimed")
def test_the_test_accuracy_is_that_of_the_bundle_in_fewer_bits(tmp_path: Path, tiny_encoder: Path) -> None:
    documents = make_documents(90, seed=1)
    result = fit(
        (documents.texts, documents.labels),
        study=tmp_path,
        encoder=str(tiny_encoder),
        candidates=[{"method": "full", "epochs": 4, "learning_rate": 1e-2, "patience": 4, "max_tokens": 32}],
        folds=2,
        max_mb=0.06,
        shared_dictionary=True,
    )
    final = result.report.findings.final
    assert final is not None
    assert final.form in ("int4", "int8")
    held = tanzaku.load_dataset(result.folder / "data").test
    labels = [prediction.label for prediction in result.classifier(held.texts)]
    right = sum(label == other for label, other in zip(labels, held.labels, strict=True))
    assert (final.test.correct, final.test.documents) == (right, len(held))
    assert f"classifies {100 * right / len(held):.2f} % of the" in str(result.report)


def test_nothing_is_trained_if_no_candidate_can_meet_the_budgets(tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(
        SpecError, match=r"no candidate can meet the budgets: the smallest takes at least \S+ MB\. Raise"
    ):
        fit(inquiries(40), study=tmp_path, encoder=str(tiny_encoder), candidates=[HEAD], max_mb=0.001)
    assert not list(tmp_path.rglob("record.json"))


def test_the_dictionary_for_words_is_counted(tmp_path: Path, fitted: Fitted) -> None:
    words = {**FEW_TERMS, "analyzer": "mecab"}
    with pytest.raises(SpecError, match=r"no candidate can meet the budgets: the smallest takes at least 52\.9\d MB"):
        fit(inquiries(40), study=tmp_path, encoder=None, candidates=[words], max_mb=1)
    assert not list(tmp_path.rglob("record.json"))
    findings = fitted.result.report.findings
    assert "MeCab" not in str(fitted.result.report)
    chosen = findings.recommended
    assert chosen is not None
    assert chosen.costs is not None
    costs = replace(chosen.costs, total_bytes=53_000_000, dictionary_bytes=52_900_000)
    candidates = tuple(replace(one, costs=costs) if one is chosen else one for one in findings.candidates)
    sentences = verdict_text(replace(findings, candidates=candidates), words=ENGLISH).every
    assert ": 53.0 MB, " in sentences[0]
    assert sentences[1].startswith(
        "Of this, 52.9 MB are the dictionary for MeCab, which is not in the classifier's folder"
    )


@pytest.mark.usefixtures("untimed")
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
    # One that lay there before is not the answer.
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "bundle.json").touch()
    for folder, told in (("none", False), ("earlier", True)):
        out = io.StringIO()
        with pytest.raises(typer.Exit) as ended:
            _conclude(result, Console(file=out, width=200), out=tmp_path / folder, language="en")
        assert ended.value.exit_code == 1
        assert ("has an earlier classifier, which was not replaced." in out.getvalue()) == told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_mb": 0.0}, "max_mb = 0; give a number above 0"),
        ({"minutes": -1}, "minutes = -1"),
        ({"minutes": float("inf")}, "minutes = inf; give a number above 0, such as 20, or 100000 for no limit"),
        ({"language": "jp"}, "language = 'jp'; choose among en, ja"),
        ({"folds": 1}, "folds = 1"),
        ({"jobs": 0}, "jobs = 0; give 1 or more"),
        ({"jobs": 1.5}, "jobs = 1.5; give a whole number"),
        ({"folds": 2.5}, "folds = 2.5; give a whole number"),
        ({"minutes": "20"}, "minutes = '20'; give a number"),
        ({"reading": {"text_column": "本文"}}, "give tanzaku.ReadOptions"),
        ({"out": 5}, "out = 5; give a path"),
        ({"encoder": 5}, "encoder = 5; give the name of an encoder, or None"),
        ({"shared_encoder": "no"}, "shared_encoder = 'no'; give True or False"),
        ({"seed": -1}, "seed = -1; give a number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed = 4294967296; give a number from 0"),
        ({"choose_by": "f1"}, "choose_by = 'f1'; choose among accuracy, macro_f1"),
        ({"candidates": ["tfidf-svm"]}, r"candidates = \['tfidf-svm'\]; give a list of arms as in a study file"),
        ({"candidates": [{"rank": 2}]}, "{'rank': 2} lacks its method; add one"),
        ({"max_megabytes": 1}, "fit has no option 'max_megabytes'; choose among text, label"),
        ({"candidates": [{**FEW_TERMS, "penalty": [1.0, 5.0]}]}, "give one candidate for each value"),
        ({"candidates": [FEW_TERMS, MANY_TERMS, FEW_TERMS]}, "'max_terms': 12, .* is given twice; leave one out"),
        ({"candidates": [{"method": "svm"}]}, "there is no method 'svm'"),
    ],
)
def test_what_is_asked_wrongly_is_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        fit(inquiries(40), study=tmp_path / "study", **{"candidates": [FEW_TERMS], **options})
    if "candidates" not in options:
        assert not (tmp_path / "study").exists()


def test_one_encoder_under_two_names_is_named(tmp_path: Path, tiny_encoder: Path) -> None:
    (tmp_path / "copy").symlink_to(tiny_encoder)
    candidates = [{"method": "static", "vectors_from": str(path)} for path in (tiny_encoder, tmp_path / "copy")]
    with pytest.raises(SpecError, match="candidates: two are the same run"):
        fit(inquiries(40), study=tmp_path / "study", encoder=None, candidates=candidates)


def test_numbers_of_further_labels_are_round() -> None:
    assert [nice(number) for number in (1, 3, 7, 49, 50, 215, 999)] == [1, 2, 5, 20, 50, 200, 500]
