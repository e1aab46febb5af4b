"""What the candidates of the tasks of short texts cost."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import costs
from benchmarks.costs import METHODS, STUDY, epochs_of, measured, short_study, some, words_of
from benchmarks.findings import ROOT, Findings
from tanzaku.data.dataset import Dataset
from tanzaku.errors import TanzakuError
from tanzaku.study.expansion import expand, parse_study, read_study
from tanzaku.study.record import FinishedRun
from tanzaku.study.spec import StudySpec
from tests.kinds import of_encoders
from tests.tiny import make_dataset

WORDS = {"method": "tfidf-svm", "max_terms": 50}


def test_the_words_are_those_that_the_validation_set_chose() -> None:
    findings = Findings(ROOT / "records")
    for task in findings.tasks():
        name = task.lora.arm.finished[0].data.name
        (run,) = expand(short_study(read_study(STUDY), words_of(name, findings), rounds=1))[:1]
        assert run.method.model_dump(mode="json") == {
            key: value for key, value in task.words.arm.finished[0].spec["method"].items() if key != "name"
        }
    with pytest.raises(TanzakuError, match=r"there are no records of weather in .*there are of: asdc_dialog_act, "):
        words_of("weather", findings)


def test_the_study_that_ships_is_only_shorter() -> None:
    study = read_study(STUDY)
    short = short_study(study, WORDS, rounds=3)
    assert short.seeds == (1, 2, 3)
    assert [arm["method"] for arm in short.arms] == list(METHODS)
    whole = {run.method_name: run for run in of_encoders(expand(study)) if run.seed == 1}
    for run in of_encoders(expand(short)):
        epochs = {"head": whole["head"].training.epochs}.get(run.method_name, 1)
        expected = whole[run.method_name].training.model_copy(update={"epochs": epochs})
        assert (run.training, run.method) == (expected, whole[run.method_name].method)


def test_documents_are_drawn_once_and_not_twice() -> None:
    documents = make_dataset(train=30).train
    drawn = some(documents, most=10)
    assert len(drawn) == len(
        set(zip(drawn.texts, drawn.labels, strict=True)) & set(zip(documents.texts, documents.labels, strict=True))
    )
    assert drawn == some(documents, most=10) != some(documents, most=11)
    assert len(some(documents, most=99)) == len(documents)


@pytest.mark.timeout(300)
def test_the_seconds_are_those_of_all_documents_and_epochs(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = parse_study(
        {
            "name": "tiny",
            "data": {"source": "made by the test"},
            "encoder": {"name": str(tiny_encoder), "max_tokens": 16},
            "training": {"epochs": 3, "learning_rate": 1e-3},
            "arms": [{"method": "head", "epochs": 4}, {"method": "lora", "rank": 2}, {"method": "full"}],
        }
    )
    made, trained = costs._made, dict[str, list[tuple[int, float]]]()

    def noted(one: StudySpec, dataset: Dataset, out: Path) -> dict[Path, FinishedRun]:
        runs = made(one, dataset, out)
        for record in runs.values():
            trained.setdefault(record.method, []).append((len(dataset.train), record.costs.train_seconds))
        return runs

    classified: list[int] = []

    def milliseconds(_: Path, texts: Sequence[str]) -> float:
        classified.append(len(texts))
        return float(len(classified))

    monkeypatch.setattr(costs, "_made", noted)
    monkeypatch.setattr(costs, "_milliseconds", milliseconds)
    dataset = make_dataset(train=40, test=30)
    found = measured(dataset, WORDS, study, rounds=2, most=20)
    assert (found["training_documents"], found["trained_on"], found["classified"]) == (40, 20, 20)
    assert found["epochs"] == epochs_of(study) == {"head": 4, "lora": 3, "full": 3}
    assert {method: [documents for documents, _ in runs] for method, runs in trained.items()} == {
        "tfidf-svm": [40, 40],
        "head": [20, 20],
        "lora": [20, 20],
        "full": [20, 20],
    }
    times = {"tfidf-svm": 1, "head": 40 / 20, "lora": 3 * 40 / 20, "full": 3 * 40 / 20}
    for place, method in enumerate(METHODS, start=1):
        seconds = [times[method] * one for _, one in trained[method]]
        measures = found["methods"][method]
        assert measures["rounds"] == {
            "train_seconds": pytest.approx(seconds),
            "milliseconds": [place, place + len(METHODS)],  # in turn
        }
        assert measures["train_seconds"] == pytest.approx(sum(seconds) / 2)
    assert classified == [20] * 8


@pytest.mark.timeout(300)
def test_a_bundle_of_each_kind_is_timed(tiny_encoder: Path, tmp_path: Path) -> None:
    dataset = make_dataset(train=40)
    arms = [WORDS, {"method": "lora", "rank": 2, "epochs": 1, "learning_rate": 1e-3}]
    for number, arm in enumerate(arms):
        content = {"name": "tiny", "data": {"source": "made by the test"}, "arms": [arm]}
        encoder = {"encoder": {"name": str(tiny_encoder), "max_tokens": 16}} if number else {}
        runs = costs._made(parse_study(content | encoder), dataset, tmp_path / str(number))
        assert costs._milliseconds(costs._bundle(runs, str(arm["method"])), dataset.test.texts) > 0
