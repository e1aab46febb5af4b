"""Archives: a study in three files says what its folder says, and nothing of the machine."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from filelock import FileLock
from pyarrow import parquet
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.cli.archive import _local_remedies
from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.errors import BundleError, RecordError, TanzakuError
from tanzaku.report.write import read_page, report_texts, write_report
from tanzaku.ship.choosing import choose_run
from tanzaku.ship.packing import pack
from tanzaku.study.archiving import archive_study, restore_study
from tanzaku.study.engine import RunEnds
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.listing import ListedRun, StudyList, Unfinished, unfinished_below, write_list
from tanzaku.study.predictions import read_predictions, write_predictions
from tanzaku.study.record import FailedRun, RunRecord, read_record, write_record
from tanzaku.study.running import run_study
from tanzaku.study.runs import read_records, stored_runs
from tanzaku.study.spec import StudySpec
from tanzaku.study.states import run_states
from tests.kinds import adapted
from tests.report.records import LIVEDOOR, at_ranks, baseline, data_facts, failed, finished, lora, write_all
from tests.tiny import make_dataset

FILE: dict[str, Any] = {
    "name": "thin",
    "description": 'Ranks of "LoRA" （短冊）',
    "seeds": [1, 2],
    "data": {"source": "/home/someone/data/livedoor"},
    "encoder": {"name": "/home/someone/small-encoder", "revision": None},
    "arms": [{"method": "tfidf-svm"}, {"method": "lora", "rank": [2, 8], "learning_rate": 5e-4}],
}
FILES = {"study.toml", "runs.jsonl", "predictions.parquet"}


def _records() -> list[RunRecord]:
    """TF-IDF, two ranks with two seeds, the larger measured at both, and a run that failed."""
    records: list[RunRecord] = [baseline()]
    for seed in (1, 2):
        records.append(finished(lora(2), accuracy=0.85 + seed / 100, seed=seed))
        records.append(at_ranks(finished(lora(8), accuracy=0.9 + seed / 100, seed=seed), {2: 0.7, 8: 0.9 + seed / 100}))
    return [*records, failed(lora(64), error="no memory", seed=1)]


def _study(folder: Path, records: list[RunRecord], *, waiting: tuple[str, ...] = ()) -> Path:
    """A study's folder as `tanzaku study run` leaves it: each run in the folder of its name."""
    write_all(records, folder)
    for number, record in enumerate(records):
        (folder / f"run-{number:02}").rename(folder / record.run_id)
    names = [*(record.run_id for record in records), *waiting]
    runs = tuple(
        ListedRun(name=name, method=name.split("-r")[0], kind="encoder" if "lora" in name else "text") for name in names
    )
    write_list(folder, StudyList(study="thin", overrides=(), file=FILE, runs=runs))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return _study(tmp_path / "runs", _records())


def _texts(folder: Path) -> dict[str, str]:
    return report_texts(read_page(folder), figures={})


def test_a_report_on_an_archive_is_that_on_the_folder(runs: Path) -> None:
    """The page, the Markdown, the LaTeX tables and every CSV file."""
    of_folder, states = _texts(runs), run_states(runs)
    chosen = choose_run(runs, margin=0.03)
    archive = runs.with_name("archive")
    archive_study(runs, archive)
    shutil.rmtree(runs)
    archive.rename(runs)
    assert {path.name for path in runs.iterdir()} == FILES
    of_archive = _texts(runs)
    assert set(of_folder) == {
        "report.html",
        "report.md",
        "tables.tex",
        "arms.csv",
        "runs.csv",
        "comparisons.csv",
        "ranks.csv",
    }
    assert of_archive == of_folder
    assert "Not compared" not in of_archive["report.md"]  # which it would be without predictions
    assert sorted(run_states(runs), key=lambda state: state.name) == sorted(states, key=lambda state: state.name)
    assert choose_run(runs, margin=0.03) == chosen
    with pytest.raises(BundleError, match="has no model/ folder any more"):
        pack(runs, runs.with_name("bundle"))


def test_an_archive_holds_the_records_and_all_predictions(runs: Path, tmp_path: Path) -> None:
    made = archive_study(runs, tmp_path / "a" / "thin")
    assert (made.finished, made.failed, made.left_out, made.with_predictions) == (5, 1, (), 5)
    lines = (made.folder / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    names = [json.loads(line)["run_id"] for line in lines]
    assert names == sorted(names)
    assert read_records(made.folder) == read_records(runs) == [read_record(runs / name) for name in names]
    for run, archived in zip(stored_runs(runs), stored_runs(made.folder), strict=True):
        assert archived.predictions() == run.predictions()
        assert archived.predictions("validation") == run.predictions("validation")
        assert archived.predictions(rank=2) == run.predictions(rank=2)
        assert (archived.predictions(rank=2) is not None) == bool(getattr(run.record, "ranks", ()))
    again = archive_study(runs, tmp_path / "again")
    for name in FILES:
        assert (again.folder / name).read_bytes() == (made.folder / name).read_bytes()


def test_an_archive_holds_the_groups_of_the_documents_of_runs_that_have_some(runs: Path, tmp_path: Path) -> None:
    name = _records()[1].run_id
    stored = read_predictions(runs / name)
    groups = [number // 3 for number in range(len(stored.classes))]
    write_predictions(runs / name, **stored._replace(groups=groups)._asdict())
    archive = archive_study(runs, tmp_path / "thin").folder
    found = {run.record.run_id: run.predictions() for run in stored_runs(archive)}
    assert found[name] == stored._replace(groups=groups)
    assert [one.groups for key, one in found.items() if one is not None and key != name] == [None] * 4
    assert _contents(restore_study(archive, tmp_path / "again").folder / name) == _contents(runs / name)
    table = parquet.read_table(archive / "predictions.parquet")
    some = table["group"].to_pylist()
    some[table["run"].to_pylist().index(name)] = None
    parquet.write_table(table.set_column(7, "group", pa.array(some, pa.int32())), archive / "predictions.parquet")
    with pytest.raises(RecordError, match=f"only some documents of {name} have groups"):
        stored_runs(archive)[0].predictions()


def test_a_folder_above_archives_and_runs_has_the_records_of_both(runs: Path) -> None:
    archive_study(runs, runs.parent / "archived" / "thin")
    records = read_records(runs)
    assert read_records(runs.parent) == [*records, *records]


def test_the_archived_study_can_be_run(runs: Path, tmp_path: Path) -> None:
    made = archive_study(runs, tmp_path / "thin")
    study = read_study(made.folder / "study.toml")
    assert study.description == FILE["description"]
    assert [run.method_name for run in expand(study)] == ["tfidf-svm", *["lora"] * 4]


def test_no_path_of_a_machine_is_archived(tmp_path: Path) -> None:
    labels = ("/a/b", *LIVEDOOR[1:])
    record = finished(lora(2), accuracy=0.9, data=data_facts(labels))
    source = "/home/someone/data/livedoor"
    record.spec["data"]["source"], record.spec["encoder"]["name"] = source, "/home/someone/small-encoder"
    record.spec["training"]["distill"] = {"teacher": "/home/someone/bundles/large", "texts": ["mine.txt"]}
    data = record.data.model_copy(update={"source": source})
    encoder = record.encoder.model_copy(update={"name": r"C:\Users\someone\small-encoder"})
    error = f"{source}/train.csv: can't be read; see https://example.org/a/b and '/home/someone/x'"
    broken = failed(lora(4), error=error)
    runs = _study(tmp_path / "runs", [record.model_copy(update={"data": data, "encoder": encoder}), broken])
    made = archive_study(runs, tmp_path / "thin")
    for path in made.folder.iterdir():
        assert b"someone" not in path.read_bytes(), path.name
    found, archived_failure = read_records(made.folder)
    archived = adapted(found)
    assert archived.data.source == archived.spec["data"]["source"] == "livedoor"
    assert archived.spec["training"]["distill"] == {"teacher": "large", "texts": ["mine.txt"]}
    assert archived.data.label_names == labels
    assert archived.encoder.name == archived.spec["encoder"]["name"] == "small-encoder"
    assert isinstance(archived_failure, FailedRun)
    assert archived_failure.error == "train.csv: can't be read; see https://example.org/a/b and 'x'"
    assert read_study(made.folder / "study.toml").data.source == "livedoor"


def test_runs_that_have_not_ended_are_archived_only_when_asked(tmp_path: Path) -> None:
    runs = _study(tmp_path / "runs", _records()[:2], waiting=("lora-r4", "lora-r16"))
    (runs / "lora-r4").mkdir()
    with (
        FileLock(runs / "lora-r4" / "lock"),
        pytest.raises(RecordError, match=r"2 of 4 .*lora-r4: running; lora-r16: wai"),
    ):
        archive_study(runs, tmp_path / "thin")
    assert not (tmp_path / "thin").exists()
    made = archive_study(runs, tmp_path / "thin", unfinished=True)
    assert (made.finished, [state.name for state in made.left_out]) == (2, ["lora-r4", "lora-r16"])
    with pytest.raises(RecordError, match=r"1 of 1 runs .*; `tanzaku study run` resumes them$"):
        archive_study(_study(tmp_path / "none", [], waiting=("lora-r4",)), tmp_path / "empty", unfinished=True)


def test_runs_that_are_none_of_the_study_s_are_left_out(runs: Path, tmp_path: Path) -> None:
    write_record(finished(lora(256), accuracy=0.99).model_copy(update={"run_id": "trial"}), runs / "trial")
    made = archive_study(runs, tmp_path / "thin")
    assert "trial" not in [record.run_id for record in read_records(made.folder)]


def test_only_an_archive_is_replaced(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "thin"
    archive_study(runs, out)
    with pytest.raises(RecordError, match=r"is an archive already; .* replace it with --force"):
        archive_study(runs, out)
    (out / "report").mkdir()
    (out / "report" / "report.md").write_text("mine", encoding="utf-8")
    (out / "notes.txt").touch()
    archive_study(runs, out, replace=True)
    assert (out / "report" / "report.md").read_text(encoding="utf-8") == "mine"
    assert {path.name for path in out.iterdir()} == {*FILES, "report", "notes.txt"}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").touch()
    with pytest.raises(TanzakuError, match="already exists"):
        archive_study(runs, mine, replace=True)
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]


def test_what_is_no_study_is_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="does not exist; give the folder"):
        archive_study(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(RecordError, match="holds no study; give the folder"):
        archive_study(tmp_path, tmp_path / "out")
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "tuning.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        RecordError, match=r"holds a search of `tanzaku study tune`.* tuning\.json and tuned\.toml: copy"
    ):
        archive_study(tmp_path / "search", tmp_path / "out")
    archive_study(runs, tmp_path / "out")
    with pytest.raises(RecordError, match="is an archive already"):
        archive_study(tmp_path / "out", tmp_path / "again")


def test_a_damaged_archive_is_an_error_that_names_the_place(runs: Path, tmp_path: Path) -> None:
    folder = archive_study(runs, tmp_path / "thin").folder
    whole = parquet.read_table(folder / "predictions.parquet")
    for table, complaint in (
        (whole.slice(1), "rows from 1 on are not one run's documents"),
        (whole.drop_columns(["class"]), "is not an archive's predictions"),
        (whole.set_column(5, "predicted", pa.array([9] * len(whole), pa.int32())), "none of its 9 labels"),
    ):
        parquet.write_table(table, folder / "predictions.parquet")
        with pytest.raises(RecordError, match=complaint):
            read_page(folder)
    (folder / "predictions.parquet").unlink()
    with pytest.raises(RecordError, match=r"predictions\.parquet"):
        read_page(folder)
    lines = (folder / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    for line, complaint in (("{", "line 2 is damaged"), ("{}", "line 2 has version None")):
        (folder / "runs.jsonl").write_text("\n".join([lines[0], line, *lines[2:]]), encoding="utf-8")
        with pytest.raises(RecordError, match=complaint):
            read_records(folder)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_restored_folder_has_the_files_of_the_study_s_own(runs: Path, tmp_path: Path) -> None:
    """Records, and predictions of both splits and all ranks, byte for byte."""
    archive = archive_study(runs, tmp_path / "thin").folder
    made = restore_study(archive, tmp_path / "again")
    assert (made.folder, made.kept) == (tmp_path / "again", ())
    assert sorted(made.restored) == sorted(state.name for state in run_states(runs))
    expected, found = _contents(runs), _contents(tmp_path / "again")
    listed, again = (StudyList.model_validate_json(content.pop("study.json")) for content in (expected, found))
    assert sorted(again.runs, key=repr) == sorted(listed.runs, key=repr)
    assert again.study == listed.study
    assert found == expected
    assert any(Path(name).parts[1:3] == ("ranks", "r2") for name in expected)


def test_the_archive_of_an_unfinished_study_says_what_is_missing(tmp_path: Path) -> None:
    """Also when it is restored, before any run is made."""
    runs = _study(tmp_path / "runs", _records()[:2], waiting=("lora-r4", "lora-r16"))
    listed = StudyList.model_validate_json((runs / "study.json").read_text(encoding="utf-8"))
    tried = listed.model_copy(update={"overrides": ("data.source=/home/someone/data/livedoor",)})
    (runs / "study.json").write_text(tried.model_dump_json(), encoding="utf-8")
    archive = archive_study(runs, tmp_path / "thin", unfinished=True).folder
    assert {path.name for path in archive.iterdir()} == FILES | {"study.json"}
    restored = restore_study(archive, tmp_path / "again").folder
    for folder in (runs, archive, restored):
        assert [state.state for state in run_states(folder)] == ["finished", "finished", "waiting", "waiting"]
        assert unfinished_below(folder) == Unfinished(missing=2, total=4)
        assert "2 of 4 runs" in _texts(folder)["report.md"]
    assert b"someone" not in (archive / "study.json").read_bytes()
    again = archive_study(restored, tmp_path / "once more", unfinished=True)
    assert _contents(again.folder) == _contents(archive)
    whole = archive_study(_study(tmp_path / "whole", _records()), tmp_path / "all").folder
    assert unfinished_below(whole) is None


def test_a_label_may_hold_any_line_separator(tmp_path: Path) -> None:
    labels = ("a\u2028b\u0085c", *LIVEDOOR[1:])
    record = finished(lora(2), accuracy=0.9, data=data_facts(labels))
    archive = archive_study(_study(tmp_path / "runs", [record]), tmp_path / "thin").folder
    assert [one.data.label_names for one in read_records(archive)] == [labels]


def test_runs_that_have_begun_are_not_replaced(runs: Path, tmp_path: Path) -> None:
    archive = archive_study(runs, tmp_path / "thin").folder
    before = _contents(runs)
    gone = runs / _records()[1].run_id
    shutil.rmtree(gone)
    mine = runs / _records()[2].run_id / "predictions.csv"
    mine.write_text("mine", encoding="utf-8")
    begun = runs / _records()[3].run_id
    shutil.rmtree(begun)
    begun.mkdir()
    (begun / "log.jsonl").touch()  # it may hold a checkpoint, or another model
    made = restore_study(archive, runs)
    assert made.restored == (gone.name,)
    assert len(made.kept) == 5
    assert [path.name for path in begun.iterdir()] == ["log.jsonl"]
    shutil.rmtree(begun)
    assert restore_study(archive, runs).restored == (begun.name,)
    assert mine.read_text(encoding="utf-8") == "mine"
    assert _contents(runs) == before | {str(mine.relative_to(runs)): b"mine"}


def test_a_run_that_has_begun_under_another_name_is_not_restored(tmp_path: Path) -> None:
    """What stands before a run's identity in its name depends on the study's other arms."""
    record = _records()[1].model_copy(update={"run_id": "lora-r2-s1-0123456789"})
    archive = archive_study(_study(tmp_path / "runs", [record]), tmp_path / "thin").folder
    here = tmp_path / "here"
    (here / "lora-s1-0123456789").mkdir(parents=True)
    (here / "lora-s1-0123456789" / "log.jsonl").touch()
    made = restore_study(archive, here)
    assert (made.restored, made.kept) == ((), ("lora-r2-s1-0123456789",))
    assert not (here / "lora-r2-s1-0123456789").exists()
    assert [(state.name, state.listed) for state in run_states(here)] == [("lora-s1-0123456789", True)]


def test_a_study_is_restored_into_its_own_folder_only(runs: Path, tmp_path: Path) -> None:
    """If the archive has more runs than the list there, its list replaces it."""
    archive = archive_study(runs, tmp_path / "thin").folder
    other = _study(tmp_path / "other", [])
    assert len(run_states(restore_study(archive, other).folder)) == len(_records())
    assert all(state.listed for state in run_states(other))
    listed = (other / "study.json").read_text(encoding="utf-8")
    (other / "study.json").write_text(listed.replace('"thin"', '"thick"'), encoding="utf-8")
    with pytest.raises(RecordError, match=r"has the runs of the study 'thick', and .* those of 'thin'; name another"):
        restore_study(archive, other)


def test_files_of_one_name_in_different_folders_stay_different(tmp_path: Path) -> None:
    """Else two arms would be one in the archive."""
    records = []
    for teacher in ("first", "second"):
        record = finished(lora(2), accuracy=0.9).model_copy(update={"run_id": teacher})
        record.spec["training"]["distill"] = {"teacher": f"/home/someone/{teacher}/bundle", "texts": None}
        records.append(record)
    made = archive_study(_study(tmp_path / "runs", [*records]), tmp_path / "thin")
    teachers = [record.spec["training"]["distill"]["teacher"] for record in read_records(made.folder)]
    assert teachers == ["first/bundle", "second/bundle"]


def test_only_an_archive_is_restored_and_only_below_the_folder(runs: Path, tmp_path: Path) -> None:
    for folder, complaint in ((tmp_path / "nowhere", "does not exist"), (runs, "has no runs.jsonl")):
        with pytest.raises(RecordError, match=f"{complaint}; give the folder that `tanzaku study archive` wrote"):
            restore_study(folder, tmp_path / "out")
    archive = archive_study(runs, tmp_path / "thin").folder
    line = json.loads((archive / "runs.jsonl").read_text(encoding="utf-8").splitlines()[0])
    for name in ("../elsewhere", "..", "", str(tmp_path / "elsewhere")):
        (archive / "runs.jsonl").write_text(json.dumps(line | {"run_id": name}), encoding="utf-8")
        with pytest.raises(RecordError, match="can't be the name of a run's folder"):
            restore_study(archive, tmp_path / "out")
    (archive / "runs.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(RecordError, match="is empty"):
        restore_study(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_study_goes_on_where_it_was_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_prepared(Preparation(make_dataset(), source={}, options={}), Path("data"))
    content = {"name": "s", "data": {"source": "data"}, "arms": [{"method": "tfidf-svm", "penalty": [0.5, 1.0, 2.0]}]}
    records = run_study(content, out="runs/s")
    shutil.rmtree(Path("runs/s", records[1].run_id))
    archive_study(Path("runs/s"), unfinished=True)
    Path("runs").rename("gone")
    done = CliRunner().invoke(app, ["study", "restore", "records/s"])
    assert (done.exit_code, done.stdout) == (0, "runs/s\n"), done.output
    assert done.stderr.splitlines() == [
        "2 runs restored in runs/s",
        "Next: tanzaku study run records/s/study.toml --out runs/s",
    ]
    heard: list[object] = []
    again = run_study("records/s/study.toml", out="runs/s", listener=heard.append)
    assert [event.found for event in heard if isinstance(event, RunEnds)] == [True, False, True]
    assert [record.run_id for record in again] == [record.run_id for record in records]
    assert [record.ended for record in again] == [records[0].ended, again[1].ended, records[2].ended]
    archived = archive_study(Path("runs/s"), replace=True)
    assert (archived.finished, archived.with_predictions) == (3, 3)
    done = CliRunner().invoke(app, ["study", "restore", "records/s"])
    assert "not replaced, since they have begun in this folder: 3 runs" in done.stderr


def test_a_restored_study_says_what_may_have_been_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    local = {
        "encoder": {"name": "bert-base-uncased"},  # which the Hub has as well
        "arms": [
            {"method": "full", "learning_rate": 1e-4, "distill": {"teacher": "bundle", "texts": "more.txt"}},
            {"method": "static", "vectors_from": ["tanzaku-mini", "bert-base-uncased"]},
        ],
    }
    study = {
        "name": "s",
        "data": {"source": "sample"},
        "encoder": {"name": "tanzaku-mini"},
        "arms": [{"method": "full"}],
    }
    assert _local_remedies(StudySpec.model_validate(study)) == []
    assert _local_remedies(StudySpec.model_validate(study | local)) == [
        "--set encoder.name=FOLDER if the encoder, bert-base-uncased, was in a local folder",
        "teacher in study.toml if bundle was a local file or folder",
        "texts in study.toml if more.txt was a local file or folder",
        "vectors_from in study.toml if bert-base-uncased was a local file or folder",
    ]
    for name in ("bert-base-uncased", "bundle", "more.txt"):
        Path(name).mkdir()
    assert _local_remedies(StudySpec.model_validate(study | local)) == []


@pytest.mark.usefixtures("no_figures")
def test_the_command_says_what_it_archived(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["study", "archive", "runs"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "records/thin\n"
    assert done.stderr.startswith("6 runs, 1 of them failed, 5 with predictions: ")
    assert "Next: tanzaku study report records/thin" in done.stderr
    status = CliRunner().invoke(app, ["study", "status", "records/thin"])
    assert len(status.stdout.splitlines()) == 7
    assert "6 of 6 runs have ended" in status.stderr
    # Which folder of this machine the data is in, only the person knows.
    restored = CliRunner().invoke(app, ["study", "restore", "records/thin", "--out", "again"])
    assert "Next: tanzaku study run records/thin/study.toml --out again" in restored.stderr
    assert "--set data.source=FOLDER for the data, livedoor" in restored.stderr
    report = write_report("records/thin", "report")
    assert report.recommended_run is not None
    assert not report.recommended_run.exists()
