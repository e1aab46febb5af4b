"""The page of findings, on the committed records of the study of precisions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.findings import (
    PAGE,
    ROOT,
    SHIPS,
    TASKS,
    TEMPLATE,
    Findings,
    claim,
    expect,
    outcomes,
)
from tanzaku.analysis.run_scores import accuracy_scores
from tanzaku.analysis.statistics import accuracy_interval_over_both, compare_accuracies, holm
from tanzaku.errors import RecordError
from tanzaku.report.formats import megabytes, p_value, points
from tanzaku.study.predictions import write_predictions
from tanzaku.study.runs import stored_runs
from tests.report.records import (
    at_ranks,
    baseline,
    data_facts,
    environment,
    finished,
    lora,
    predictions_like,
    scores,
    write_all,
)

RECORDS = ROOT / "records"
STUDY = "livedoor-precision"
PLAIN: dict[str, Any] = {"precision": "bfloat16", "hidden_dropout": 0.0}


def _correct(method: str, wanted: dict[str, Any]) -> np.ndarray:
    """(runs, documents) bool, read without what is tested."""
    rows = []
    for run in stored_runs(RECORDS / STUDY):
        record, training = run.record, run.record.spec["training"]
        if record.method == method and all(training[name] == value for name, value in wanted.items()):
            pairs = run.predictions()
            assert pairs is not None
            classes, predicted, *_ = pairs
            rows.append(np.asarray(classes) == np.asarray(predicted))
    return np.stack(rows)


def test_an_arm_is_found_by_its_settings_and_told_with_its_interval() -> None:
    found = Findings(RECORDS).arm(STUDY, "full", **PLAIN)
    correct = _correct("full", PLAIN)
    assert (found.seeds, len(correct)) == ("5", 5)
    mean, rest = found.accuracy.split(" ")
    low, high = (float(end) for end in rest.strip("()").split("–"))
    assert mean == f"{100 * correct.mean():.1f}"
    assert low < float(mean) < high
    of_seeds = sorted(100 * correct.mean(axis=1))
    assert found.spread == f"{of_seeds[0]:.1f}–{of_seeds[-1]:.1f}"


@pytest.mark.parametrize(("settings", "count"), [({}, 3), ({"precision": "float16"}, 0)])
def test_settings_of_several_arms_or_none_are_an_error(settings: dict[str, str], count: int) -> None:
    with pytest.raises(RecordError, match=rf"has {count} arms full with .*must be one of: Full"):
        Findings(RECORDS).arm(STUDY, "full", **settings)


def test_p_values_are_corrected_over_the_pairs_of_a_table() -> None:
    findings = Findings(RECORDS)
    rivals = {"precision": "bfloat16", "hidden_dropout": 0.1}
    methods = ("full", "lora")
    pairs = [(name, findings.arm(STUDY, name, **PLAIN), findings.arm(STUDY, name, **rivals)) for name in methods]
    direct = []
    for method in methods:
        correct = np.concatenate([_correct(method, PLAIN), _correct(method, rivals)])
        direct.append(compare_accuracies(correct, range(5), range(5, 10)))
    corrected = holm([one.p_value for one in direct])
    assert corrected[0] != direct[0].p_value or corrected[1] != direct[1].p_value
    for row, method, one, p in zip(findings.table(pairs), methods, direct, corrected, strict=True):
        name, found = row
        assert (name, found.p_value) == (method, p_value(p))
        assert found.p == pytest.approx(p, rel=1e-9, abs=0)
        assert found.points.startswith(f"{points(one.mean)} (")
    # Of one pair alone, what the other one's p-value was counts for nothing.
    ((_, alone),) = findings.table(pairs[:1])
    assert alone.p == direct[0].p_value


def test_arms_on_other_documents_are_not_compared() -> None:
    findings = Findings(RECORDS)
    full, lora = findings.arm(STUDY, "full", **PLAIN), findings.arm(STUDY, "lora", **PLAIN)
    ((_, found),) = findings.table([("both", full, lora)])
    assert found.difference.mean == pytest.approx(full.correct.mean() - lora.correct.mean())
    with pytest.raises(RecordError, match="not the same"):
        findings.table([("both", full, replace(lora, classes=lora.classes[::-1]))])


def test_documents_of_a_group_do_not_count_as_independent(tmp_path: Path) -> None:
    """Twenty neighbours at a time, which the records of tests take nearly all right or all wrong."""
    records = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.8), (8, 0.82))]
    found = {}
    for name, size in (("apart", None), ("together", 20)):
        write_all(records, tmp_path / name)
        for number, record in enumerate(records):
            classes, predicted = predictions_like(record)
            groups = None if size is None else [place // size for place in range(len(classes))]
            folder = tmp_path / name / f"run-{number:02}"
            write_predictions(folder, classes=classes, predicted=predicted, groups=groups)
        arms = [Findings(tmp_path).arm(name, "lora", rank=rank) for rank in (2, 8)]
        ((_, difference),) = Findings(tmp_path).table([("both", arms[0], arms[1])])
        found[name] = (arms[0], difference)
    (apart, independent), (together, grouped) = found["apart"], found["together"]
    assert grouped.p > independent.p
    assert apart.groups is None
    assert together.groups is not None
    scores = accuracy_scores(together.correct, np.arange(len(together.classes)) // 20)
    interval = accuracy_interval_over_both(scores, [0])
    assert together.accuracy.endswith(f" ({100 * interval.low:.1f}–{100 * interval.high:.1f})")
    assert together.accuracy != apart.accuracy


def test_runs_that_took_over_trainings_are_compared_in_pairs(tmp_path: Path) -> None:
    trained = [finished(lora(8), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.88, 0.80, 0.84))]
    both = [
        finished(lora(2), accuracy=accuracy, seed=run.spec["seed"], trained_by=run.run_id)
        for run, accuracy in zip(trained, (0.899, 0.822, 0.861), strict=True)
    ]
    write_all([*trained, *both], tmp_path / "pairs")
    arms = [Findings(tmp_path).arm("pairs", "lora", rank=rank) for rank in (2, 8)]
    ((_, compared),) = Findings(tmp_path).table([("both", arms[0], arms[1])])
    correct = np.concatenate([one.correct for one in arms])
    assert compared.difference == compare_accuracies(correct, range(3), range(3, 6), in_pairs=True)
    assert compared.p < 0.01


def test_an_adapter_that_was_cut_is_told_at_its_rank(tmp_path: Path) -> None:
    """A record with its predictions at two ranks, of which the smaller one takes every second document wrong."""
    record = at_ranks(finished(lora(8), accuracy=1.0), {2: 0.5, 8: 1.0})
    write_all([record], tmp_path / "cut")
    findings = Findings(tmp_path)
    whole = findings.arm("cut", "lora")
    cut = findings.at_rank(whole, 2)
    (small,) = (one for one in record.ranks if one.rank == 2)
    assert cut.correct.mean() == pytest.approx(small.test.accuracy)
    assert cut.megabytes == megabytes(small.saved_bytes / 1e6) != whole.megabytes
    ((_, found),) = findings.table([("cut", whole, cut)])
    assert found.difference.mean == pytest.approx(whole.correct.mean() - cut.correct.mean())
    with pytest.raises(RecordError, match="was not measured at the rank 3"):
        findings.at_rank(whole, 3)


def test_what_each_seed_loses_is_told_from_the_most_to_the_least(tmp_path: Path) -> None:
    whole, cut = {1: 0.9, 2: 0.6, 3: 0.7}, {1: 0.8, 2: 0.59, 3: 0.72}
    records = [
        at_ranks(finished(lora(8), accuracy=whole[seed], seed=seed), {2: cut[seed], 8: whole[seed]}) for seed in whole
    ]
    write_all(records, tmp_path / "cut")
    findings = Findings(tmp_path)
    found = findings.arm("cut", "lora")
    low, high = findings.at_rank(found, 2).less_by_seed(found).replace("−", "-").split(" to ")
    assert (float(low), float(high)) == pytest.approx((-10, 2), abs=0.1)
    write_all(records[:2], tmp_path / "fewer")
    with pytest.raises(RecordError, match=r"seeds of .* are not the same"):
        found.less_by_seed(findings.arm("fewer", "lora"))


_STUDY = """
name = "task"
recipe = "default"
seeds = [1, 2]
[data]
source = "data/task"
[encoder]
name = "tanzaku-mini"
max_tokens = 64
[[arms]]
method = "lora"
"""


def test_tasks_have_the_words_that_validation_chose_and_only_whole_arms(tmp_path: Path) -> None:
    folder = tmp_path / TASKS[0]
    words = [
        baseline(
            accuracy=test, val=scores(val, documents=736), run_id=f"words-{penalty}", environment=environment(threads=1)
        )
        for penalty, test, val in ((0.1, 0.8, 0.7), (1.0, 0.75, 0.9), (5.0, 0.9, 0.8))
    ]
    for record, penalty in zip(words, (0.1, 1.0, 5.0), strict=True):
        record.spec["method"]["penalty"] = penalty
    adapted = [
        finished(method, accuracy=accuracy, seed=seed, environment=environment(threads=1))
        for method, accuracy in (({"name": "head"}, 0.6), (lora(8), 0.9), ({"name": "full"}, 0.75))
        for seed in (1, 2)
    ]
    write_all([*words, *adapted], folder)
    (folder / "study.toml").write_text(_STUDY, encoding="utf-8")
    (task,) = Findings(tmp_path).tasks()
    assert task.words.by_seed.tolist() == pytest.approx([0.75], abs=1e-3)
    table = Findings(tmp_path).table([task.lora_and_words, *task.lora_and_others])
    assert outcomes(table) == {
        "better": [name for name, *_ in [task.lora_and_words, *task.lora_and_others]],
        "worse": [],
        "not distinguishable": [],
    }
    folder = tmp_path / "fewer" / TASKS[0]
    write_all([*words, *adapted[2:5]], folder)  # without the head, and with one seed of full fine-tuning
    (folder / "study.toml").write_text(_STUDY, encoding="utf-8")
    (task,) = Findings(tmp_path / "fewer").tasks()
    assert (task.head, task.full, task.lora_and_others) == (None, None, [])
    assert task.lora.by_seed.tolist() == pytest.approx([0.9, 0.9], abs=1e-3)
    write_all([*words, adapted[2]], tmp_path / "fewest" / TASKS[0])
    (tmp_path / "fewest" / TASKS[0] / "study.toml").write_text(_STUDY, encoding="utf-8")
    assert Findings(tmp_path / "fewest").tasks() == []


def test_what_ships_is_compared_as_far_as_it_has_been_made(tmp_path: Path) -> None:
    study = _STUDY.replace('name = "task"', f'name = "{SHIPS}"') + '[[arms]]\nmethod = "lora+tfidf"\n'
    words = baseline(accuracy=0.8, environment=environment(threads=1))
    words.spec["method"] |= {"max_terms": 8192, "penalty": 5.0}
    adapted = [finished(lora(2), accuracy=0.9, seed=seed, environment=environment(threads=1)) for seed in (1, 2)]
    write_all([words, *adapted], tmp_path / SHIPS)
    (tmp_path / SHIPS / "study.toml").write_text(study, encoding="utf-8")
    ships = Findings(tmp_path).ships()
    assert ships is not None
    assert list(ships.arms) == ["TF-IDF of words, C = 5, the 8,192 most frequent terms", "LoRA"]
    assert [name for name, *_ in ships.pairs] == ["LoRA, TF-IDF of frequent terms"]
    assert (ships.planned, ships.missing) == (4, 1)
    assert Findings(tmp_path / "nowhere").ships() is None


def test_one_arm_on_two_data_sets_is_found_by_its_source(tmp_path: Path) -> None:
    signed = finished(lora(8), accuracy=0.9, run_id="signed")
    unsigned = finished(lora(8), accuracy=0.7, run_id="unsigned", data=data_facts(fingerprint="f" * 64))
    unsigned.spec["data"]["source"] = "data/unsigned"
    write_all([signed, unsigned], tmp_path / "names")
    findings = Findings(tmp_path)
    assert findings.arm("names", "lora", source="data/unsigned").correct.mean() == pytest.approx(0.7, abs=1e-3)
    assert findings.arm("names", "lora", source=signed.spec["data"]["source"]).correct.mean() == pytest.approx(
        0.9, abs=1e-3
    )
    with pytest.raises(RecordError, match=r"has 2 arms lora.* on livedoor; .* on data/unsigned"):
        findings.arm("names", "lora")


def _table_of_two_arms(folder: Path, *, better: float, worse: float) -> list[Any]:
    write_all([finished(lora(8), accuracy=better), finished(lora(2), accuracy=worse)], folder / "two")
    findings = Findings(folder)
    eight, two = findings.arm("two", "lora", rank=8), findings.arm("two", "lora", rank=2)
    return findings.table([("8, 2", eight, two), ("2, 8", two, eight), ("8, 8", eight, eight)])


def test_a_conclusion_is_checked_against_the_records(tmp_path: Path) -> None:
    table = _table_of_two_arms(tmp_path, better=0.95, worse=0.6)
    assert expect(table, "better", "8, 2") == "better"
    assert expect(table, "worse", "2, 8") == "worse"
    assert expect(table, "not distinguishable", "8, 8") == "not distinguishable"
    assert table[0][1].size == table[1][1].size
    with pytest.raises(RecordError, match=r"says that '2, 8' is better, and the records say: worse"):
        expect(table, "better", "8, 2", "2, 8")
    with pytest.raises(RecordError, match=r"says that '2, 8' is better"):
        expect(table, "better")  # of all pairs
    with pytest.raises(RecordError, match=r"no comparison '8, 4'; there are: 8, 2; 2, 8; 8, 8"):
        expect(table, "better", "8, 4")


def test_a_page_with_a_wrong_conclusion_is_not_written(tmp_path: Path) -> None:
    write_all([finished(lora(8), accuracy=0.95), finished(lora(2), accuracy=0.6)], tmp_path / "two")
    template = tmp_path / "page.md.jinja"
    compared = '{% set t = table([("8, 2", arm("two", "lora", rank=8), arm("two", "lora", rank=2))]) %}'
    template.write_text(compared + '\nIt is\n{{ expect(t, "better", "8, 2") }}.\n', encoding="utf-8")
    assert Findings(tmp_path).write(template) == "It is better.\n"
    template.write_text(compared + '\nIt is\n{{ expect(t, "worse", "8, 2") }}.\n', encoding="utf-8")
    with pytest.raises(RecordError, match="the records say: better"):
        Findings(tmp_path).write(template)


def test_claims_about_figures_are_checked() -> None:
    assert claim(True, "it is so") == "it is so"
    with pytest.raises(RecordError, match="contradict: it is so"):
        claim(False, "it is so")


def test_a_run_that_only_takes_the_most_frequent_class_right_is_known() -> None:
    found = Findings(RECORDS).arm("asdc-ranks", "lora", rank=256, learning_rate=0.002)
    assert found.knows_one_class
    (most,) = {np.bincount(found.classes).max() / len(found.classes)}
    assert found.mean == pytest.approx(most)
    other = found.correct.copy()
    other[0, np.flatnonzero(~other[0])[0]] = True
    assert not replace(found, correct=other).knows_one_class
    assert not replace(found, correct=np.zeros_like(found.correct)).knows_one_class


def test_the_page_is_what_the_records_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == Findings(RECORDS).write(TEMPLATE)
