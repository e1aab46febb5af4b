"""One run's adapter at other ranks: the record says what each classifies, and what is on the disk agrees."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tanzaku.encoders.load import resolve_encoder
from tanzaku.files import folder_bytes
from tanzaku.methods.lora import Lora
from tanzaku.report.write import write_report
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.predictions import read_predictions
from tanzaku.study.record import FinishedEncoderRun, read_record
from tanzaku.study.run import run_encoder
from tanzaku.study.spec import StudySpec
from tests.kinds import encoder_run
from tests.tiny import make_dataset

DATASET = make_dataset(train=24, val=12, test=15)


def _run(encoder: Path, folder: Path, arm: dict[str, Any]) -> FinishedEncoderRun:
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 24},
        "training": {"epochs": 2, "learning_rate": 1e-2, "precision": "float32"},
        "arms": [arm],
    }
    spec = encoder_run(StudySpec.model_validate(content))
    planned = PlannedEncoderRun(spec, folder, resolve_encoder(str(encoder)))
    return run_encoder(planned, dataset=DATASET, study="tiny")


@pytest.mark.parametrize("fast", [True, False])
def test_the_curve_of_a_run_is_in_its_record(tiny_encoder: Path, tmp_path: Path, fast: bool) -> None:
    arm = {"method": "lora", "rank": 8, "targets": "all-linear", "fast": fast}
    plain = _run(tiny_encoder, tmp_path / "plain", arm)
    record = _run(tiny_encoder, tmp_path / "cut", arm | {"truncate": [1, 4, 8]})
    assert plain.ranks == ()
    assert [one.rank for one in record.ranks] == [1, 4, 8]
    assert read_record(tmp_path / "cut") == record
    # Measuring changes neither the training nor what is saved.
    assert record.test == plain.test
    weights = [(tmp_path / name / "model" / "adapter_model.safetensors").read_bytes() for name in ("plain", "cut")]
    assert weights[0] == weights[1]
    whole = record.ranks[-1]
    assert (whole.test.accuracy, whole.test.macro_f1) == (record.test.accuracy, record.test.macro_f1)
    assert whole.seconds == 0 < record.ranks[0].seconds
    sizes = [one.saved_bytes for one in record.ranks]
    assert sizes == sorted(sizes)
    assert sizes[-1] == pytest.approx(record.costs.saved_bytes, abs=64)  # the configuration's digits
    for one in record.ranks:
        classes, predicted, *_ = read_predictions(tmp_path / "cut" / "ranks" / f"r{one.rank}")
        assert np.mean(np.equal(classes, predicted)) == pytest.approx(one.test.accuracy)
        assert (one.val.documents, one.test.documents) == (12, 15)


def test_the_size_at_a_rank_is_that_of_its_folder(tiny_encoder: Path, tmp_path: Path) -> None:
    record = _run(tiny_encoder, tmp_path / "run", {"method": "lora", "rank": 8, "truncate": [2]})
    Lora(rank=8).write_at_rank(tmp_path / "run" / "model", tmp_path / "cut", rank=2)
    assert record.ranks[0].saved_bytes == folder_bytes(tmp_path / "cut")


@pytest.mark.filterwarnings("ignore:no installed font")
def test_a_report_of_real_runs_has_their_ranks_beside_those_trained_alone(tiny_encoder: Path, tmp_path: Path) -> None:
    arms: dict[str, dict[str, Any]] = {
        "cut": {"method": "lora", "rank": 4, "truncate": [2, 4]},
        "nested": {"method": "lora-nested", "ranks": [2, 4]},
        "alone": {"method": "lora", "rank": 2},
    }
    records = {name: _run(tiny_encoder, tmp_path / "runs" / name, arm) for name, arm in arms.items()}
    report = write_report(tmp_path / "runs", tmp_path / "report")
    nested, cut = report.evidence[0].curves
    assert (nested.arm.method, cut.arm.method) == ("lora-nested", "lora")
    for curve, name in ((nested, "nested"), (cut, "cut")):
        assert [row.rank for row in curve.rows] == [2, 4]
        assert [row.measured[0] for row in curve.rows] == list(records[name].ranks)
        assert [row.separate.rank for row in curve.rows if row.separate] == [2, 4]
        first = curve.rows[0].difference
        alone = records["alone"].test
        assert first is not None
        assert first.mean == pytest.approx(records[name].ranks[0].test.accuracy - alone.accuracy)
    # The LoRA of rank 4 is what the nested one is beside; with itself it is not compared.
    assert nested.rows[1].difference is not None
    assert cut.rows[1].difference is None
    assert (tmp_path / "report" / "figures" / "ranks.svg").is_file()
