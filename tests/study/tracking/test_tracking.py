"""Trackers hold what records hold, as their own readers read it, however often and by whatever way it was sent."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from typer.testing import CliRunner

from tanzaku.cli.study import app
from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.errors import TanzakuWarning, TrackingError
from tanzaku.study.archiving import archive_study
from tanzaku.study.engine import RunBusy, RunEnds, RunStarts
from tanzaku.study.record import (
    LOG_FILE,
    FailedRun,
    FinishedEncoderRun,
    FinishedRun,
    PretrainingFacts,
    read_record,
    write_record,
)
from tanzaku.study.running import run_study
from tanzaku.study.runs import StoredRun, stored_runs
from tanzaku.study.tracking.content import TrackedRun, ended_run
from tanzaku.study.tracking.exporting import Exported, export_runs
from tanzaku.study.tracking.following import Following
from tanzaku.study.tracking.tensorboard import TensorBoardTracker
from tanzaku.study.tracking.tracker import open_trackers
from tests.tiny import make_dataset

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

NAMED = {"accuracy_interval", "per_class", "confusion"}
SERVER = ("mlflow", "flask", "flask_cors", "aiohttp", "alembic", "sqlalchemy")


@dataclass(frozen=True)
class Made:
    study: dict[str, Any]
    runs: Path
    records: list[FinishedRun]


@pytest.fixture(scope="module")
def made(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A study of text methods and an adapter with two ranks, tracked with TensorBoard while it was made."""
    folder = tmp_path_factory.mktemp("tracked")
    write_prepared(Preparation(make_dataset(), source={}, options={}), folder / "data")
    study = {
        "name": "tracked",
        "seeds": [1],
        "data": {"source": str(folder / "data")},
        "encoder": {"name": str(tiny_encoder), "max_tokens": 24},
        "training": {"epochs": 2, "batch_size": 8, "log_steps": 2, "learning_rate": 0.01, "head_learning_rate": 0.01},
        "arms": [
            {"method": "tfidf-svm"},
            {"method": "lora-nested", "ranks": [2, 4]},
            {"method": "static", "vectors_from": str(tiny_encoder), "dimensions": 8},
        ],
    }
    records = run_study(study, out=folder / "runs", track=["tensorboard"])
    assert all(isinstance(record, FinishedRun) for record in records), records
    return Made(study, folder / "runs", [record for record in records if isinstance(record, FinishedRun)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of MLflow's own server over SQLite."""
    if missing := [name for name in SERVER if find_spec(name) is None]:
        if os.environ.get("CI"):
            pytest.fail(f"not installed: {missing}")
        pytest.skip(f"MLflow's server needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=os.environ | quiet, stdout=output, stderr=output, cwd=folder)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(f"{address}/health"):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(log.read_text())


def _expected(record: FinishedRun) -> dict[tuple[str, int], float]:
    """Every number in the record by metric and step, written out without the code under test."""
    expected: dict[tuple[str, int], float] = {}
    for epoch in record.history:
        expected |= {
            (f"epoch/{name}", epoch.epoch): float(getattr(epoch, name))
            for name in ("steps", "train_loss", "val_loss", "val_accuracy", "learning_rate", "train_seconds")
        }
        expected["epoch/eval_seconds", epoch.epoch] = epoch.eval_seconds
        for group, rate in epoch.group_learning_rates.items():
            expected[f"epoch/group_learning_rates/{group}", epoch.epoch] = rate
    expected |= {("step/train_loss", step): loss for step, loss in record.training_curve}
    best = record.best_epoch if isinstance(record, FinishedEncoderRun) else 0
    final: dict[str, Any] = {"resumptions": record.resumptions}
    if isinstance(record, FinishedEncoderRun):
        final |= {
            "best_epoch": record.best_epoch,
            "stopped_early": record.stopped_early,
            "partly_read": record.partly_read,
        }
    parts: list[tuple[str, Any]] = [("val", record.val), ("test", record.test), ("costs", record.costs)]
    parts += [("calibration", record.calibration)]
    parts += [(f"rank/{one.rank}", one) for one in record.ranks]
    parts += [(f"rank/{one.rank}/{split}", getattr(one, split)) for one in record.ranks for split in ("val", "test")]
    for prefix, part in parts:
        content = part.model_dump(exclude=NAMED | {"rank", "val", "test"})
        final |= {f"{prefix}/{name}": value for name, value in content.items() if value is not None}
        if hasattr(part, "accuracy_interval"):
            final[f"{prefix}/accuracy_low"], final[f"{prefix}/accuracy_high"] = part.accuracy_interval
        for label, scores in getattr(part, "per_class", {}).items():
            final |= {f"{prefix}/per_class/{label}/{name}": value for name, value in scores.model_dump().items()}
    return expected | {(f"final/{name}", best): float(value) for name, value in final.items()}


_NO_METRICS = {"version", "spec", "method_details", "data", "environment", "distillation", "compute"}
_PLACES = {"epoch", "rank", "confusion"}


def _all_numbers(content: Any) -> list[float]:
    """Every number in a part of a record, whatever its name; an epoch's and a rank's own number is a place."""
    if isinstance(content, dict):
        return [number for name, part in content.items() if name not in _PLACES for number in _all_numbers(part)]
    if isinstance(content, list):
        return [number for part in content for number in _all_numbers(part)]
    return [float(content)] if isinstance(content, int | float) else []


def _measured(record: FinishedRun) -> list[float]:
    """Every number of a record that was measured, so that a new field of records can't be missing in trackers."""
    content = record.model_dump(mode="json", exclude=_NO_METRICS)
    content["training_curve"] = [loss for _, loss in content["training_curve"]]
    content["encoder"] = (content.get("encoder") or {}).get("pretraining")
    return sorted(_all_numbers(content))


def _pretrained(record: FinishedRun) -> FinishedRun:
    """As the record of a run whose encoder was pretrained further."""
    assert isinstance(record, FinishedEncoderRun)
    facts = PretrainingFacts(
        folder="pretrained",
        identity="0",
        base_fingerprint="0",
        documents=48,
        steps=7,
        tokens_seen=1234,
        seconds=5.5,
        first_held_out_loss=3.5,
        held_out_loss=2.5,
        held_out_accuracy=0.25,
    )
    return record.model_copy(update={"encoder": record.encoder.model_copy(update={"pretraining": facts})})


def _read_tensorboard(folder: Path) -> dict[tuple[str, int], float]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    read = [(tag, event) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)]
    assert len({(tag, event.step) for tag, event in read}) == len(read)  # nothing was written twice
    return {(tag, event.step): event.value for tag, event in read}


def _in_float32(values: dict[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    return {place: float(np.float32(value)) for place, value in values.items()}


def test_tensorboard_reads_every_number_of_a_record(made: Made) -> None:
    assert [record.method for record in made.records] == ["tfidf-svm", "lora-nested", "static"]
    assert all(len(_expected(record)) > 20 for record in made.records)
    for record in made.records:
        assert _read_tensorboard(made.runs / "tensorboard" / record.run_id) == _in_float32(_expected(record))


def test_readers_find_every_number_that_was_measured_of_every_kind_of_run(
    made: Made, server: str, tmp_path: Path
) -> None:
    text, encoder, static = made.records
    records = [record.model_copy(update={"study": "kinds"}) for record in (text, _pretrained(encoder), static)]
    for record in records:
        shutil.copytree(made.runs / record.run_id, tmp_path / "runs" / record.run_id)
        write_record(record, tmp_path / "runs" / record.run_id)
    assert export_runs(tmp_path / "runs", f"mlflow:{server}") == Exported(sent=3, already_there=0)
    assert export_runs(tmp_path / "runs", f"tensorboard:{tmp_path / 'logs'}") == Exported(sent=3, already_there=0)
    in_mlflow = _read_mlflow(server, "kinds")
    for record in records:
        measured = _measured(record)
        assert sorted(_history(server, in_mlflow[record.run_id]).values()) == measured
        in_tensorboard = _read_tensorboard(tmp_path / "logs" / record.run_id).values()
        assert sorted(in_tensorboard) == sorted(float(np.float32(number)) for number in measured)


def test_tensorboard_gets_new_epochs_and_keeps_no_run_twice(made: Made, tmp_path: Path) -> None:
    record = made.records[1]
    whole = ended_run(StoredRun(record, made.runs / record.run_id))
    tracker = TensorBoardTracker("tensorboard", tmp_path)
    begun: dict[str, Any] = {"ended": None, "files": {}}
    for epochs, state in ((1, "running"), (2, "interrupted")):
        points = tuple(point for point in whole.points if point.name.startswith("epoch/") and point.step <= epochs)
        tracker.send(type(whole)(**vars(whole) | begun | {"points": points, "state": state}))
        assert _read_tensorboard(tmp_path / record.run_id) == {
            place: value
            for place, value in _in_float32(_expected(record)).items()
            if place[0].startswith("epoch/") and place[1] <= epochs
        }
    # As another process that did not write the first epochs.
    TensorBoardTracker("tensorboard", tmp_path).send(whole)
    (file,) = (tmp_path / record.run_id).glob("*tfevents*")
    assert _read_tensorboard(tmp_path / record.run_id) == _in_float32(_expected(record))
    assert export_runs(made.runs, f"tensorboard:{tmp_path}") == Exported(sent=2, already_there=1)
    assert list((tmp_path / record.run_id).glob("*tfevents*")) == [file]


def test_the_folder_of_the_study_itself_is_refused_and_keeps_its_runs(made: Made, tmp_path: Path) -> None:
    runs = shutil.copytree(made.runs, tmp_path / "runs")
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    with pytest.raises(TrackingError, match="files that are not TensorBoard's"):
        export_runs(runs, f"tensorboard:{runs}")
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


def test_a_run_is_sent_by_the_process_that_makes_it_and_its_end_last(made: Made, tmp_path: Path) -> None:
    sent: list[tuple[str, str]] = []

    class Heard(TensorBoardTracker):
        def send(self, run: TrackedRun) -> bool:
            sent.append((run.run_id, run.state))
            return True

    record = made.records[1]
    planned: Any = SimpleNamespace(run_id=record.run_id, folder=made.runs / record.run_id, spec=record.spec)
    following = Following([Heard("tensorboard", tmp_path)], folder=tmp_path, study="tiny")
    following(RunStarts(planned, 1, 1))
    following(RunBusy(planned))
    following._send(interrupted=True)
    assert sent == []
    following(RunEnds(planned, record, found=False))
    following._running[record.run_id] = planned  # as in a copy that was made before the end
    following._send(interrupted=False)
    assert sent == [(record.run_id, "finished")]


def test_runs_that_can_not_be_sent_hold_no_other_up(made: Made, tmp_path: Path) -> None:
    *bad, other = made.records
    copies = [record.model_copy(update={"run_id": f"{record.run_id}-{copy}"}) for record in bad for copy in (1, 2)]
    sent: list[str] = []

    class Choosy(TensorBoardTracker):
        def send(self, run: TrackedRun) -> bool:
            if run.run_id != other.run_id:
                raise TrackingError("not this one")
            sent.append(run.run_id)
            return True

    following = Following([Choosy("tensorboard", tmp_path)], folder=tmp_path, study="tiny")
    for record in (*bad, other, *copies):
        folder = made.runs / record.run_id.removesuffix("-1").removesuffix("-2")
        planned: Any = SimpleNamespace(run_id=record.run_id, folder=folder, spec=record.spec)
        following(RunEnds(planned, record, found=False))
    assert following._send(interrupted=False)  # whether a tracker failed
    with pytest.warns(TanzakuWarning, match="not this one"):
        following._warn()
    assert sent == [other.run_id]


def test_an_export_sends_what_can_be_sent_and_names_what_can_not(made: Made, tmp_path: Path) -> None:
    runs = shutil.copytree(made.runs, tmp_path / "runs")
    for first in sorted(record.run_id for record in made.records)[:2]:
        (runs / first / "predictions.csv").write_text("damaged", encoding="utf-8")
    for done in ("1 were sent and 0 were there", "0 were sent and 1 were there"):
        with pytest.raises(TrackingError, match=rf"predictions\.csv.*Of 3 runs, {done} already"):
            export_runs(runs, f"tensorboard:{tmp_path / 'logs'}")
    assert len(list((tmp_path / "logs").iterdir())) == 1


def _client(server: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=server)


def _read_mlflow(server: str, study: str) -> dict[str, Any]:
    """MLflow's runs of a study by their names, each of which is there once."""
    client = _client(server)
    runs = client.search_runs([client.get_experiment_by_name(study).experiment_id])
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs)
    return named


def _history(server: str, run: Any) -> dict[tuple[str, int], float]:
    client = _client(server)
    read = [entry for name in run.data.metrics for entry in client.get_metric_history(run.info.run_id, name)]
    assert len({(entry.key, entry.step) for entry in read}) == len(read)  # nothing was sent twice
    return {(entry.key, entry.step): entry.value for entry in read}


def test_mlflow_reads_every_number_of_a_record_sent_any_number_of_times(
    made: Made, server: str, tmp_path: Path
) -> None:
    to = f"mlflow:{server}"
    assert export_runs(made.runs, to).sent == 3
    first = _read_mlflow(server, "tracked")
    assert set(first) == {record.run_id for record in made.records}
    archive_study(made.runs, tmp_path / "archive")
    export_runs(tmp_path / "archive", to)
    assert run_study(made.study, out=made.runs, track=[to]) == made.records
    again = _read_mlflow(server, "tracked")
    for record in made.records:
        run = again[record.run_id]
        assert run.info.run_id == first[record.run_id].info.run_id
        assert (run.info.status, run.data.tags["tanzaku.study"]) == ("FINISHED", "tracked")
        assert _history(server, run) == _expected(record)
        assert run.data.params["method.name"] == record.method
        assert run.data.tags["version.torch"] == record.environment.versions["torch"]
        files = {file.path for file in _client(server).list_artifacts(run.info.run_id)}
        assert files == {"record.json", "predictions.csv", "val-predictions.csv"}
    settings = again[made.records[1].run_id].data.params
    assert (settings["training.head_learning_rate"], settings["seed"], settings["method.ranks"]) == (
        "0.01",
        "1",
        "[2, 4]",
    )
    fetched = _client(server).download_artifacts(
        again[made.records[1].run_id].info.run_id, "predictions.csv", str(tmp_path)
    )
    assert Path(fetched).read_bytes() == (made.runs / made.records[1].run_id / "predictions.csv").read_bytes()


def test_mlflow_gets_the_epochs_of_a_run_that_is_stopped_fails_and_is_repeated(
    made: Made, server: str, tmp_path: Path
) -> None:
    record = made.records[1].model_copy(update={"study": "repeated"})
    folder = tmp_path / record.run_id
    shutil.copytree(made.runs / record.run_id, folder)
    lines = (folder / LOG_FILE).read_text().splitlines(keepends=True)
    (first, second) = [number for number, line in enumerate(lines, start=1) if json.loads(line)["event"] == "EpochDone"]
    failed = FailedRun(
        error="it broke",
        **record.model_dump(include={"run_id", "study", "started", "ended", "spec", "method_details"}),
        data=record.data,
        environment=record.environment,
    )
    write_record(failed, folder)
    of_epochs = {place: value for place, value in _expected(record).items() if place[0].startswith("epoch/")}
    for lines_of_log, epochs in ((first, 1), (second, 2)):
        (folder / LOG_FILE).write_text("".join(lines[:lines_of_log]) + '{"event": "EpochDone", "ti')
        export_runs(tmp_path, f"mlflow:{server}")
        run = _read_mlflow(server, "repeated")[record.run_id]
        assert (run.info.status, run.data.tags["error"]) == ("FAILED", "it broke")
        assert _history(server, run) == {place: one for place, one in of_epochs.items() if place[1] <= epochs}
    write_record(record, folder)
    export_runs(tmp_path, f"mlflow:{server}")
    run = _read_mlflow(server, "repeated")[record.run_id]
    assert (run.info.status, "error" in run.data.tags) == ("FINISHED", False)
    assert _history(server, run) == _expected(record)

    # Made again from the start: other seconds. MLflow can't change values, so another of its runs takes the place.
    longer = record.model_copy(update={"costs": record.costs.model_copy(update={"test_seconds": 99.0})})
    write_record(longer, folder)
    export_runs(tmp_path, f"mlflow:{server}")
    replaced = _read_mlflow(server, "repeated")[record.run_id]
    assert replaced.info.run_id != run.info.run_id
    assert _history(server, replaced) == _expected(longer)

    # The same where a study follows it from its beginning, when it has no values that could be others.
    (tracker,) = open_trackers([f"mlflow:{server}"], runs=tmp_path)
    again = ended_run(StoredRun(record, folder))
    tracker.send(replace(again, state="running", points=(), ended=None, files={}))
    assert tracker.send(again)
    assert not tracker.send(again)
    followed = _read_mlflow(server, "repeated")[record.run_id]
    assert followed.info.run_id != replaced.info.run_id
    assert _history(server, followed) == _expected(record)


def test_the_report_and_the_bundle_are_kept_for_the_study(made: Made, server: str, tmp_path: Path) -> None:
    for name in ("my-report", "my-bundle"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file.txt").write_text(name)
    arguments = ["--report", str(tmp_path / "my-report"), "--bundle", str(tmp_path / "my-bundle")]
    to_mlflow = ["export", str(made.runs), "--to", f"mlflow:{server}"]
    for _ in range(2):
        result = CliRunner().invoke(app, [*to_mlflow, *arguments], catch_exceptions=False)
        assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"0 runs of {made.runs} sent to mlflow:{server}; 3 already there\n"
    (target,) = [run for name, run in _read_mlflow(server, "tracked").items() if name == "report-and-bundle"]
    for kind in ("report", "bundle"):
        path = _client(server).download_artifacts(target.info.run_id, f"{kind}/below/file.txt", str(tmp_path))
        assert Path(path).read_text() == f"my-{kind}"
    with pytest.raises(TrackingError, match="no such folder"):
        export_runs(made.runs, f"mlflow:{server}", folders={"report": tmp_path / "none"})
    with pytest.raises(TrackingError, match="keeps no files such as report"):
        export_runs(made.runs, "tensorboard", folders={"report": tmp_path / "my-report"})


def test_a_tracker_that_is_down_costs_a_warning_and_no_run(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = "mlflow:http://127.0.0.1:9"
    study = {**made.study, "name": "down", "arms": [{"method": "tfidf-svm", "penalty": [1.0, 2.0]}]}
    with pytest.warns(TanzakuWarning) as warned:
        records = run_study(study, out=tmp_path / "runs", track=[down, f"tensorboard:{tmp_path / 'logs'}"])
    (message,) = [str(one.message) for one in warned if "--track" in str(one.message)]
    assert f"tanzaku study export {tmp_path / 'runs'} --to {down}" in message
    assert [record.status for record in records] == ["finished", "finished"]
    assert [read_record(tmp_path / "runs" / record.run_id) for record in records] == records
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {record.run_id for record in records}
    assert len(stored_runs(tmp_path / "runs")) == 2
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9: .*Connection refused"):
        export_runs(tmp_path / "runs", down)


@pytest.mark.parametrize("destination", ["wandb", "mlflow", "mlflow:", "tensorboards:x"])
def test_a_destination_that_is_none_is_an_error_before_anything_starts(
    destination: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match="mlflow:"):
        open_trackers([destination], runs=tmp_path)
    study = {"name": "s", "data": {"source": "sample"}, "arms": [{"method": "tfidf-svm"}]}
    with pytest.raises(TrackingError, match="mlflow:"):
        run_study(study, out=tmp_path / "runs", track=[destination])
    assert not (tmp_path / "runs").exists()


def test_labels_of_any_characters_have_metrics_of_their_own(made: Made) -> None:
    labels = ("a/b", "a b", "..", "？" * 300)
    record = made.records[0]
    scores = dict(zip(labels, [next(iter(record.test.per_class.values()))] * 4, strict=True))
    odd = record.model_copy(update={"test": record.test.model_copy(update={"per_class": scores})})
    names = [point.name for point in ended_run(StoredRun(odd, made.runs / "none")).points]
    assert len(set(names)) == len(names)
    assert {name.split("/")[3] for name in names if "test/per_class" in name} == {"a_b", "a_b_2", "__3", "__4"}


def test_the_tag_of_an_arm_is_that_of_its_seeds_and_of_no_other(made: Made) -> None:
    """Whatever the runs' folders are called: they keep their names when a study grows, and long ones are cut."""
    run = next(run for run in stored_runs(made.runs) if isinstance(run.record, FinishedEncoderRun))

    def arm(name: str, **changes: Any) -> str:
        record = run.record.model_copy(update={"run_id": name, "spec": run.record.spec | changes})
        return ended_run(replace(run, record=record)).tags["tanzaku.arm"]

    tag = arm("lora-s1-0123456789", seed=1)
    assert arm("lora-r2-s2-9876543210", seed=2, data={"source": "moved"}) == tag
    assert arm("lora-s1-0123456789", training=run.record.spec["training"] | {"epochs": 77}) != tag
