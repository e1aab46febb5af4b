"""What a search leaves behind: `tuning.json` with every trial, and `tuned.toml`, a study with the best settings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tanzaku.data.dataset import absolute_source
from tanzaku.errors import RecordError
from tanzaku.facts import Facts, read_facts
from tanzaku.files import write_atomically
from tanzaku.methods.tfidf_svm import TfidfSvm
from tanzaku.study.record import Environment, EpochRecord
from tanzaku.study.spec import EncoderRunSpec, StudySpec
from tanzaku.study.study_file import study_toml
from tanzaku.study.summary import DataFacts
from tanzaku.study.tune.trial import TrialResult

TUNING_FILE = "tuning.json"
TUNED_FILE = "tuned.toml"


class TrialRecord(Facts):
    """One trial: finished, pruned (ended early for being worse than others), or failed."""

    number: Annotated[int, Field(description="From 1; Optuna's, in trials.db, is one less.")]
    run_id: Annotated[str | None, Field(description="Its folder below trials/; None where its settings were none.")]
    status: Literal["finished", "pruned", "failed"]
    error: str | None = None
    settings: Annotated[dict[str, Any], Field(description="The searched settings, by their names in an arm.")]
    val_accuracy: Annotated[float | None, Field(description="At the best epoch.")] = None
    val_loss: Annotated[float | None, Field(description="At the best epoch.")] = None
    best_epoch: int | None = None
    seconds: Annotated[float, Field(description="Of training and validation.")] = 0.0
    trainable_parameters: int | None = None
    history: tuple[EpochRecord, ...] = ()
    spec: Annotated[dict[str, Any] | None, Field(description="The resolved RunSpec.")] = None


class TuningRecord(Facts):
    """A search: what was searched, on what, and every trial. No figure in it has seen the test set."""

    version: Literal[1] = 1
    kind: Literal["tuning"] = "tuning"
    study: str
    written: Annotated[str, Field(description="ISO 8601, UTC.")]
    identity: Annotated[str, Field(description="SHA-256 of all that the trials and their order depend on.")]
    settings: Annotated[dict[str, Any], Field(description="The resolved [tune], without its space.")]
    fixed: Annotated[dict[str, Any], Field(description="The arm's settings that are not searched.")]
    space: Annotated[dict[str, Any], Field(description="Lists of values and ranges, by setting.")]
    data: Annotated[DataFacts, Field(description="The fingerprint is that of the training and validation splits.")]
    encoder: str
    encoder_fingerprint: str
    environment: Environment
    trials: tuple[TrialRecord, ...]

    @property
    def ranking(self) -> list[TrialRecord]:
        """The finished trials, the best first, then the pruned ones likewise, then the failed ones."""
        return sorted(self.trials, key=self._order)

    @property
    def best(self) -> TrialRecord | None:
        """The best finished trial."""
        return next((trial for trial in self.ranking if trial.status == "finished"), None)

    def _order(self, trial: TrialRecord) -> tuple[float, ...]:
        kind = ("finished", "pruned", "failed").index(trial.status)
        loss = float("inf") if trial.val_loss is None else trial.val_loss
        accuracy = trial.val_accuracy or 0.0
        by_accuracy = self.settings["objective"] == "accuracy"
        return (kind, *((-accuracy, loss) if by_accuracy else (loss, -accuracy)), trial.number)


def trial_record(
    number: int, settings: dict[str, Any], result: TrialResult, *, spec: EncoderRunSpec | None, run_id: str | None
) -> TrialRecord:
    """The record of a trial that has ended."""
    best = result.best
    return TrialRecord(
        number=number,
        run_id=run_id,
        status=result.status,
        error=result.error,
        settings=settings,
        val_accuracy=best.val_accuracy if best else None,
        val_loss=best.val_loss if best else None,
        best_epoch=best.epoch if best else None,
        seconds=result.seconds,
        trainable_parameters=result.trainable_parameters,
        history=result.history,
        spec=spec.model_dump(mode="json") if spec else None,
    )


def read_trials(folder: Path) -> tuple[TrialRecord, ...]:
    """The trials of `tuning.json`; none where it is missing or damaged, since it is written again."""
    remedy = "`tanzaku study tune` writes it again"
    try:
        return read_facts(TuningRecord, folder / TUNING_FILE, what="a search", remedy=remedy).trials
    except RecordError:
        return ()


def write_tuning(record: TuningRecord, folder: Path) -> None:
    """Write `tuning.json`, atomically."""
    write_atomically(folder / TUNING_FILE, record.model_dump_json(indent=1) + "\n")


def write_tuned(study: StudySpec, best: TrialRecord, folder: Path, *, trials: int, seeds: Iterable[int]) -> Path:
    """Write `tuned.toml`: the best settings, every one spelled out, with several seeds, next to the baseline."""
    assert best.spec is not None
    assert best.val_accuracy is not None
    method = dict(best.spec["method"])
    content = {
        "name": f"{study.name}-tuned",
        "description": f"Trial {best.number} of the {trials} that a search for {study.name} made: "
        f"{100 * best.val_accuracy:.2f} % of the validation set, in epoch {best.best_epoch}",
        "seeds": list(seeds),
        "choose_by": study.choose_by,
        "data": {"source": absolute_source(study.data.source)},
        "encoder": best.spec["encoder"],
        "training": best.spec["training"],
        "arms": [{"method": TfidfSvm.name}, {"method": method.pop("name"), **method}],
    }
    path = folder / TUNED_FILE
    write_atomically(path, study_toml(content))
    return path
