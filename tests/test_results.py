"""The figures that the README and docs/training.md show are those of the committed records, to the digit.

    python -m tests.test_results

prints the READMEs' table and that of docs/training.md.
"""

import itertools
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.findings import Compared, Findings, outcomes
from tanzaku.analysis.arms import Arm, sections_of
from tanzaku.analysis.intervals import accuracy_interval_of
from tanzaku.analysis.statistics import compare_accuracies
from tanzaku.analysis.thesis import PUBLISHED, published_megabytes
from tanzaku.encoders.source import files_of, resolve_encoder
from tanzaku.fitting.candidates import parameters_of
from tanzaku.report.formats import (
    interval,
    megabytes,
    p_value,
    percent,
    points,
    points_interval,
    seconds,
)
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.record import Costs, FinishedEncoderRun, FinishedRun
from tanzaku.study.runs import read_records, stored_runs
from tanzaku.study.spec import RUN_SPEC, StudySpec
from tanzaku.words import words_of

ROOT = Path(__file__).parents[1]
PRECISION = ROOT / "records" / "livedoor-precision"
QUICKSTART = ROOT / "records" / "quickstart"
# The fingerprint of the encoder that was called tanzaku-mini when these records were made.
FIRST_MINI = "fb02fc35cc16270d1d1fa1c55688373e44cc1abea7fd47454c1ea062e8b93876"
# Each has a record of every run of its study.
WHOLE = [
    "livedoor-mini",
    "asdc-ranks",
    "livedoor-methods",
    "quickstart",
    "recipe-asdc",
    "recipe-chabsa",
    "recipe-ews",
    "asdc-dialog-act",
    "chabsa-polarity",
    "medweb-ja",
]
# The study file of those that were made with one on several tasks.
FILES = dict.fromkeys(("recipe-asdc", "recipe-chabsa", "recipe-ews"), "recipe")
FILES |= dict.fromkeys(
    ("asdc-dialog-act", "chabsa-polarity", "ews-sentiment", "industry33", "medweb-ja"), "short-texts"
)
ARCHIVES = sorted(path.parent for path in (ROOT / "records").glob("*/runs.jsonl"))


@cache
def _findings() -> Findings:
    return Findings(ROOT / "records")


def _against_words() -> dict[str, Compared]:
    return dict(_findings().table([task.lora_and_words for task in _findings().tasks()]))


def _rows(language: str) -> list[str]:
    """A row a task of short texts: the candidates' accuracies, and what LoRA adds to TF-IDF."""
    rows = []
    for task in _findings().tasks():
        compared = _against_words()[task.lora_and_words[0]]
        difference = points_interval(compared.difference.interval, words=words_of(language))
        cells = [
            task.name,
            task.training_documents,
            *("–" if found is None else found.accuracy for found in (task.words, task.head, task.lora, task.full)),
            f"{points(compared.difference.mean)} ({difference})",
            compared.p_value,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


_LANGUAGES = [("README.md", "en"), ("README.ja.md", "ja")]


@pytest.mark.parametrize(("page", "language"), _LANGUAGES)
def test_the_readmes_table_is_the_records(page: str, language: str) -> None:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    # A row that no record stands behind would begin as one of these does.
    assert [line for line in lines if re.match(r"\| `[\w-]+` \| [\d,]+ \|", line)] == _rows(language)


@pytest.mark.parametrize(
    ("page", "better"),
    [
        ("README.md", "LoRA is better than TF-IDF on (.*?)\\."),
        ("README.ja.md", "LoRA の正解率は、(.*?) では TF-IDF より"),
    ],
)
def test_the_readmes_say_where_the_encoder_pays_off(page: str, better: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    (found,) = re.findall(better, text)
    by_outcome = outcomes(list(_against_words().items()))
    assert re.findall(r"`[\w-]+`", found) == [name.split(":")[0] for name in by_outcome["better"]]
    assert not by_outcome["worse"]
    with_others = _findings().table([pair for task in _findings().tasks() for pair in task.lora_and_others])
    assert {one.outcome for name, one in with_others if "full" in name} == {"not distinguishable"}
    sizes = [found.megabytes for task in _findings().tasks() for found in (task.lora, task.full) if found]
    assert [size for size in sizes if f"{size} MB" not in text] == []


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (
            "README.md",
            r"Training only the head, which stores (\d+ to \d+) kB, is worse than LoRA on (.*?), and not (.*?)\.",
        ),
        (
            "README.ja.md",
            r"ヘッドだけを学習した場合（.*? (\d+～\d+) kB）の正解率は、(.*?) では LoRA より有意に低く、(.*?) で",
        ),
    ],
)
def test_the_readmes_say_where_the_head_suffices(page: str, sentence: str) -> None:
    ((stored, worse, as_good),) = re.findall(sentence, " ".join((ROOT / page).read_text(encoding="utf-8").split()))
    heads = [(task, task.head) for task in _findings().tasks() if task.head is not None]
    sizes = [1000 * float(head.megabytes) for _, head in heads]
    assert stored.replace("～", " to ") == f"{min(sizes):.0f} to {max(sizes):.0f}"
    table = _findings().table([pair for task, _ in heads for pair in task.lora_and_others])
    expected = [[n.split(":")[0] for n in names if n.endswith("head only")] for names in outcomes(table).values()]
    assert [re.findall(r"`[\w-]+`", worse), [], re.findall(r"`[\w-]+`", as_good)] == expected


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_the_readmes_say_what_the_rank_does(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split()).replace("～", " to ")
    ranks = [2, 4, 8, 32, 64, 128, 256]
    usual = {
        rank: _findings().arm("asdc-ranks", "lora", rank=rank, alpha="rank", rslora=False, learning_rate=5e-4)
        for rank in ranks
    }
    means = [100 * found.mean for found in usual.values()]
    assert f"{min(means):.1f} to {max(means):.1f} %" in text
    steps = [(str(rank), usual[rank], usual[smaller]) for smaller, rank in itertools.pairwise(ranks)]
    assert {one.outcome for _, one in _findings().table(steps)} == {"not distinguishable"}
    small, large = (_findings().arm("asdc-ranks", "lora", rank=rank, learning_rate=2e-3) for rank in (2, 256))
    assert large.knows_one_class
    assert f"{100 * small.mean:.1f} %" in text


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_the_readmes_compare_word_counts_with_the_thesis(page: str) -> None:
    """On the thesis's corpus: the best TF-IDF, and in its Table 3.2 full fine-tuning and the best LoRA."""
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split()).replace("（", " (").replace("）", ")")
    words = _findings().arm("livedoor-mini", "tfidf-svm", max_terms=8192)
    best = {
        row.method: row
        for row in sorted(PUBLISHED, key=lambda row: row.accuracy_percent)
        if row.table == "3.2" and row.megabytes is not None
    }
    shown = [
        words.accuracy.replace(" (", " % ("),
        f"{words.megabytes} MB",
        f"{best['full'].accuracy_percent:.2f} %",
        f"{megabytes(published_megabytes(best['full']))} MB",
        f"{best['lora'].accuracy_percent:.2f} %",
    ]
    assert [figure for figure in shown if figure not in text] == []


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_what_the_quickstart_is_shown_to_print_is_its_record(page: str) -> None:
    (section,) = sections_of(read_records(QUICKSTART))
    shown = [re.split(r"  +", line.strip()) for line in (ROOT / page).read_text(encoding="utf-8").splitlines()]
    rows = {cells[0]: cells[2:] for cells in shown if len(cells) == 7 and cells[1] == "…"}
    assert list(rows)[1:] == [arm.name for arm in section.arms]
    for arm in section.arms:
        (run,) = arm.finished
        shown_interval = accuracy_interval_of([run.test], None)
        assert shown_interval is not None
        assert rows[arm.name] == [
            percent(run.test.accuracy),
            interval(shown_interval),
            percent(run.test.macro_f1),
            megabytes(run.costs.saved_bytes / 1e6),
            seconds(run.costs.train_seconds),
        ]


def _quickstart_costs() -> list[Costs]:
    (section,) = sections_of(read_records(QUICKSTART))
    return [run.costs for arm in section.arms for run in arm.finished]


@pytest.mark.parametrize(
    ("page", "required"), [("README.md", r"(\d+) GB of free memory"), ("README.ja.md", r"(\d+) GB の空きメモリー")]
)
def test_the_memory_that_the_quickstart_needs_is_that_of_two_of_its_runs(page: str, required: str) -> None:
    *_, second, first = sorted(costs.peak_memory_bytes or 0 for costs in _quickstart_costs())
    (found,) = re.findall(required, (ROOT / page).read_text(encoding="utf-8"))
    # The command itself holds no encoder; what a gigabyte leaves over is for it.
    assert (first + second) / 1e9 < int(found) < (first + second) / 1e9 + 1


@pytest.mark.parametrize("page", ["README.md", "README.ja.md", "docs/fit.md"])
def test_the_sizes_of_bundles_follow_from_the_encoder_s(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    source = resolve_encoder("tanzaku-mini")
    files = files_of(source)
    tokenizer, stored = (
        sum((source.folder / name).stat().st_size for name in names)
        for names in (files.tokenizer, (*files.tokenizer, *files.weights))
    )
    # With 4 bits, blocks of 32 weights share a scale of 16 bits.
    whole = [tokenizer + parameters_of(source, labels=9) * bits / 8 for bits in (4 + 16 / 32, 8, 32)]
    four, eight, full = (f"{size / 1e6:.0f}" for size in whole)
    assert four == f"{stored / 1e6:.0f}"
    shown = {
        "README.md": f"take {four}, {eight} or {full} MB in 4, 8 or 32 bits",
        "README.ja.md": f"4 ビットなら {four} MB、8 ビットなら {eight} MB、32 ビットなら {full} MB",
        "docs/fit.md": f"in 4 bits, in 8 bits or in float32 ({four}, {eight} and {full} MB)",
    }
    assert shown[page] in " ".join(text.split())
    adapters = [costs.saved_bytes for costs in _quickstart_costs() if costs.trainable_parameters < 5e6]
    largest = f"{max(adapters) / 1e6:.0f} MB"
    assert page == "docs/fit.md" or f"{largest} more" in text or f"最大 {largest}" in text


def _study_file(name: str) -> Path:
    return ROOT / "studies" / f"{FILES.get(name, name)}.toml"


@pytest.mark.parametrize("study", [*(study for study in WHOLE if study != "quickstart"), "livedoor-names"])
def test_the_records_are_of_their_study_and_of_one_encoder(study: str) -> None:
    records = read_records(ROOT / "records" / study)
    wanted = [run.model_dump(exclude={"data"}) for run in expand(read_study(_study_file(study)))]
    assert all(RUN_SPEC.validate_python(record.spec).model_dump(exclude={"data"}) in wanted for record in records)
    assert {record.status for record in records} == {"finished"}
    assert {record.environment.git_dirty for record in records} == {False}
    encoders = [record.encoder for record in records if isinstance(record, FinishedEncoderRun)]
    # One that was pretrained further on the training texts began from the same.
    began = {one.pretraining.base_fingerprint if one.pretraining else one.fingerprint for one in encoders}
    assert began == {FIRST_MINI if study.startswith("livedoor-") else resolve_encoder("tanzaku-mini").fingerprint}


@pytest.mark.parametrize("study", WHOLE)
def test_the_records_are_the_whole_study(study: str) -> None:
    wanted = expand(read_study(_study_file(study)))
    assert len(read_records(ROOT / "records" / study)) == len(wanted)


# What the default, bfloat16 without dropout, stands beside: (precision, dropout in hidden states).
_BESIDE = {"float32": ("float32", 0.0), "the thesis's dropouts": ("bfloat16", 0.1)}


def _precision_rows() -> list[str]:
    """A row a method and rival: both accuracies, and their difference over seeds and documents."""
    (section,) = sections_of(read_records(PRECISION))
    arms = {
        (arm.method, arm.settings["training.precision"], arm.settings["training.hidden_dropout"]): arm
        for arm in section.arms
    }
    rows = []
    for method in dict.fromkeys(arm.method for arm in section.arms):
        for rival, settings in _BESIDE.items():
            ours, theirs = arms[method, "bfloat16", 0.0], arms[(method, *settings)]
            assert [run.spec["seed"] for run in ours.finished] == [run.spec["seed"] for run in theirs.finished]
            correct = np.stack([_correct(PRECISION)[run.run_id] for run in (*ours.finished, *theirs.finished)])
            seeds = len(ours.finished)
            found = compare_accuracies(correct, range(seeds), range(seeds, 2 * seeds))
            name = ours.method if ours.rank is None else f"{ours.method}, r = {ours.rank}"
            cells = [
                name,
                rival,
                _spread(ours),
                _spread(theirs),
                points(found.mean),
                points_interval(found.interval, words=words_of("en")),
            ]
            rows.append(f"| {' | '.join([*cells, p_value(found.p_value)])} |")
    return rows


def _spread(arm: Arm) -> str:
    accuracy = arm.accuracy
    assert accuracy is not None
    return f"{percent(accuracy.mean)} ({percent(accuracy.lowest)}–{percent(accuracy.highest)})"


@cache
def _correct(study: Path) -> dict[str, np.ndarray]:
    """By a run's name, whether it took each test document right."""
    pairs = {run.record.run_id: run.predictions() for run in stored_runs(study)}
    return {name: np.equal(pair.classes, pair.predicted) for name, pair in pairs.items() if pair is not None}


def test_the_table_of_both_precisions_is_the_records() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert "\n".join(_precision_rows()) in text


def test_the_precision_records_are_the_whole_study() -> None:
    study: StudySpec = read_study(ROOT / "studies" / "livedoor-precision.toml")
    records = read_records(PRECISION)
    found = [RUN_SPEC.validate_python(record.spec) for record in records]
    assert sorted(map(repr, found)) == sorted(map(repr, expand(study)))
    assert {record.status for record in records} == {"finished"}
    assert {record.environment.git_dirty for record in records} == {False}
    for record in records:
        assert isinstance(record, FinishedEncoderRun)
        assert (record.compute.path, record.compute.precision) == ("fast", record.spec["training"]["precision"])


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda folder: folder.name)
def test_the_records_measures_follow_from_their_predictions(archive: Path) -> None:
    correct = _correct(archive)
    for record in read_records(archive):
        assert isinstance(record, FinishedRun)
        assert record.test.correct == correct[record.run_id].sum()
        assert record.test.documents == len(correct[record.run_id])


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda folder: folder.name)
def test_an_archive_s_study_is_the_one_that_ships(archive: Path) -> None:
    archived = read_study(archive / "study.toml")
    ours = read_study(_study_file(archive.name), overrides=[f"data.source={archived.data.source}"])
    assert expand(archived) == expand(ours)


def test_the_records_stay_small() -> None:
    files = [path for path in (ROOT / "records").rglob("*") if path.is_file() and "report" not in path.parts]
    assert len(files) < 80
    assert sum(path.stat().st_size for path in files) < 4e6
    assert not [path for path in files if path.suffix in (".html", ".svg", ".png", ".tex", ".csv")]


if __name__ == "__main__":
    print("\n".join([*_rows("en"), "", *_rows("ja"), "", *_precision_rows()]))
