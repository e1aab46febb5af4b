"""The study that a search leaves behind says what its best trial was."""

from pathlib import Path
from typing import Any

import pytest

from tanzaku.study.expansion import expand, read_study
from tanzaku.study.spec import StudySpec
from tanzaku.study.tune.record import TrialRecord, write_tuned


@pytest.mark.parametrize(
    ("arm", "encoder"),
    [
        ({"targets": ["attention"], "rank_pattern": {"layer.3.attention.self.value": 4, 'a "b" ü\\': 2}}, {}),
        ({"alpha": "rank", "schedule": "wsd", "decay": 0.3, "head_learning_rate": 1e-5}, {"pooling": "mean+max"}),
        ({}, {"name": r"C:\encoders\東北", "long_text": "windows", "max_windows": 3, "pretrain": {"steps": 7}}),
    ],
)
def test_the_tuned_study_is_read_back_as_the_trials_run(
    tmp_path: Path, arm: dict[str, Any], encoder: dict[str, Any]
) -> None:
    content = {
        "name": "small",
        "seeds": [7],
        "choose_by": "macro_f1",
        "data": {"source": "sample"},
        "encoder": {"name": "an/encoder"} | encoder,
        "arms": [{"method": "lora", "learning_rate": 2e-4} | arm],
    }
    study = StudySpec.model_validate(content)
    (run,) = expand(study)
    best = TrialRecord(
        number=1,
        run_id="r",
        status="finished",
        settings={},
        val_accuracy=0.9,
        best_epoch=2,
        spec=run.model_dump(mode="json"),
    )
    path = write_tuned(study, best, tmp_path, trials=3, seeds=[7])
    assert expand(read_study(path))[1] == run


def test_the_tuned_study_finds_its_data_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    arms = [{"method": "head", "learning_rate": 1e-3}]
    content = {"name": "small", "data": {"source": "data"}, "encoder": {"name": "an/encoder"}, "arms": arms}
    study = StudySpec.model_validate(content)
    best = TrialRecord(
        number=1,
        run_id="r",
        status="finished",
        settings={},
        val_accuracy=0.9,
        best_epoch=2,
        spec=expand(study)[0].model_dump(mode="json"),
    )
    tuned = read_study(write_tuned(study, best, tmp_path, trials=1, seeds=[7]))
    assert tuned.data.source == str(tmp_path / "data")
