"""One nested run beside one of the largest rank, at a tiny encoder's size."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.nested import STUDY, main, rows_of, seconds_of, two_arms
from benchmarks.page import make_page
from tanzaku.errors import TanzakuError
from tanzaku.methods.lora_nested import LoraNested
from tanzaku.study.expansion import expand, read_study
from tests.kinds import of_encoders
from tests.report.records import failed, lora

_TINY = """
name = "tiny-nested"
data = {{ source = "sample" }}
encoder = {{ name = "{encoder}", max_tokens = 16 }}
training = {{ epochs = 1, learning_rate = 1e-3 }}
seeds = [7, 8]

[[arms]]
method = "lora-nested"
ranks = [2, 4]

[[arms]]
method = "lora"
rank = 4
truncate = [2]
"""


def test_the_study_that_ships_has_both_arms_and_seven_ranks() -> None:
    study = two_arms(read_study(STUDY), rounds=3)
    nested, alone = study.arms
    assert nested["ranks"] == [2, 4, 8, 32, 64, 128, 256]
    assert (alone["method"], alone["rank"]) == ("lora", 256)
    assert "truncate" not in alone  # or it would be measured at further ranks, too
    assert study.seeds == (1, 2, 3)


def test_every_rank_of_the_study_that_ships_is_also_trained_alone_and_all_else_alike() -> None:
    nested, *others = [run for run in of_encoders(expand(read_study(STUDY))) if run.seed == 1]
    assert isinstance(nested.method, LoraNested)
    alone = [run.method.model_copy(update={"truncate": ()}) for run in others]
    assert [nested.method.trained_alone(rank) in alone for rank in nested.method.ranks] == [True] * 7
    assert all(
        (run.training, run.encoder, run.data) == (nested.training, nested.encoder, nested.data) for run in others
    )


def test_a_study_without_one_of_the_arms_is_refused() -> None:
    study = read_study(STUDY)
    nested, others = study.arms[0], study.arms[1:]
    with pytest.raises(TanzakuError, match="has no arm lora-nested with its ranks"):
        two_arms(study.model_copy(update={"arms": others}), rounds=1)
    with pytest.raises(TanzakuError, match="has no arm lora with rank = 256, the largest of lora-nested"):
        two_arms(study.model_copy(update={"arms": (nested, {"method": "lora"}, others[1])}), rounds=1)


def test_runs_are_compared_seed_by_seed() -> None:
    seconds = {("lora-nested", 1): 30.0, ("lora-nested", 2): 60.0, ("lora", 1): 10.0, ("lora", 2): 60.0}
    ratio, nested, alone = rows_of([_record(method, seed, value) for (method, seed), value in seconds.items()][::-1])
    assert (ratio.value, ratio.spread) == (2.0, (1.0, 3.0))
    assert (nested.spread, alone.spread) == ((30.0, 60.0), (10.0, 60.0))


def test_a_failed_run_is_no_measurement() -> None:
    with pytest.raises(TanzakuError, match="the run some-run failed: out of memory"):
        seconds_of(failed(lora(8), error="out of memory", run_id="some-run"))


def _record(method: str, seed: int, seconds: float) -> Any:
    """Of a run that trained half of the time, tested a quarter of it, and measured a further rank in the rest."""
    costs = SimpleNamespace(train_seconds_with_evaluation=seconds / 2, test_seconds=seconds / 4)
    return SimpleNamespace(
        method=method, spec={"seed": seed}, costs=costs, ranks=(SimpleNamespace(seconds=seconds / 4),)
    )


@pytest.mark.timeout(300)
def test_the_record_has_the_ratio_seed_by_seed(
    tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = tmp_path / "study.toml", tmp_path / "nested.json"
    study.write_text(_TINY.format(encoder=tiny_encoder), encoding="utf-8")
    main(["--study", str(study), "--data", "sample", "--rounds", "1", "--out", str(out)])
    record = json.loads(out.read_text(encoding="utf-8"))
    assert json.loads(capsys.readouterr().out) == record
    ratio, nested, alone = record["rows"]
    assert ratio["name"] == "seven_ranks_in_one_run_vs_one_r256_run"
    assert ratio["value"] == pytest.approx(nested["value"] / alone["value"])
    assert nested["value"] > 0 < alone["value"]
    page = make_page([], "", nested=record)
    assert f"{ratio['value']:.2f} | {ratio['spread'][0]:.2f}–{ratio['spread'][1]:.2f}" in page
