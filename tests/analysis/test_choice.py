"""What arms are chosen by: the study file's word, from the run to the report."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tanzaku.analysis.arms import arms_of
from tanzaku.analysis.choice import choose_arm, what_chooses
from tanzaku.cli import app
from tanzaku.errors import RecordError
from tests.report.records import failed, finished, lora


def test_records_say_what_chooses_unless_it_is_asked_for() -> None:
    old = finished(lora(8), accuracy=0.9)
    by_macro_f1, by_accuracy = (
        old.model_copy(update={"spec": {**old.spec, "choose_by": measure}}) for measure in ("macro_f1", "accuracy")
    )
    assert what_chooses([old, by_accuracy], asked=None) == "accuracy"
    assert what_chooses([by_macro_f1], asked=None) == "macro_f1"
    assert what_chooses([by_macro_f1], asked="accuracy") == "accuracy"
    assert what_chooses([], asked=None) == "accuracy"
    with pytest.raises(RecordError, match="--choose-by accuracy or --choose-by macro_f1"):
        what_chooses([old, by_macro_f1], asked=None)


def test_arms_without_a_measured_run_are_not_considered() -> None:
    broken = failed(lora(2), error="boom")
    assert choose_arm(arms_of([broken]), choose_by="accuracy", margin=0.005) is None
    arms = arms_of([broken, finished(lora(8), accuracy=0.9)])
    choice = choose_arm(arms, choose_by="accuracy", margin=0.005)
    assert choice is not None
    assert [arm.rank for arm in choice.considered] == [8]
    assert choice.best == choice.recommended == arms[1]


@pytest.mark.slow
def test_a_study_that_changes_its_mind_is_told_how_to_report(tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        'name = "few"\nchoose_by = "macro_f1"\n[data]\nsource = "sample"\n[[arms]]\nmethod = "tfidf-svm"\n'
    )
    command = ["study", "run", str(study), "--out", str(tmp_path / "runs")]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0
    assert "--choose-by" not in first.stderr
    again = CliRunner().invoke(app, [*command, "--set", "choose_by=accuracy"])
    assert "already finished: tfidf-svm" in again.stderr  # what chooses makes no other run
    assert f"tanzaku study report {tmp_path / 'runs'} --choose-by accuracy" in again.stderr
    wrong = CliRunner().invoke(app, [*command, "--set", "choose_by=f1"])
    assert "choose_by = 'f1'" in str(wrong.exception)
    assert "'accuracy' or 'macro_f1'" in str(wrong.exception)
