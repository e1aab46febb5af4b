"""One trial: a training that never meets the test set, in a process of its own, and may be ended after any epoch.

It leaves `trial.json` in its folder, written last; until then it resumes from its checkpoints, as a run does.
"""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock

from tanzaku.data.dataset import Dataset
from tanzaku.errors import TanzakuError
from tanzaku.facts import Facts, read_facts
from tanzaku.files import write_atomically
from tanzaku.study.process import (
    FINISHED,
    INTERRUPTED,
    UNWRITABLE,
    Child,
    Ended,
    StartedChild,
    StudyInterrupted,
    describe_death,
    first_to_end,
    is_of_the_disk,
    unwritable,
)
from tanzaku.study.record import CHECKPOINT_FOLDER, EpochRecord
from tanzaku.study.spec import EncoderRunSpec
from tanzaku.threads import threads_of_each
from tanzaku.training.stopping import BestBy, EarlyStopping, watched_value

if TYPE_CHECKING:
    from tanzaku.encoders.load import EncoderSource
    from tanzaku.training.events import EpochResult, Event

TRIAL_FILE = "trial.json"
# What ends a trial: takes the epochs done since the last call, and says whether to end it here.
Verdict = Callable[[Sequence[EpochRecord]], bool]


class TrialResult(Facts):
    """How a trial ended."""

    status: Literal["finished", "pruned", "failed"]
    error: str | None = None
    history: tuple[EpochRecord, ...] = ()
    trainable_parameters: int | None = None
    best_by: BestBy = "loss"
    val_documents: int | None = None

    @property
    def best(self) -> EpochRecord | None:
        """The epoch whose weights a run keeps."""
        stopping, best = EarlyStopping(None), None
        documents = self.val_documents if self.best_by == "accuracy" else None
        for epoch in self.history:
            value = watched_value(loss=epoch.val_loss, accuracy=epoch.val_accuracy, best_by=self.best_by)
            if stopping.update(value, epoch=epoch.epoch, documents=documents):
                best = epoch
        return best

    @property
    def seconds(self) -> float:
        """Of training and validation."""
        return sum(epoch.train_seconds + epoch.eval_seconds for epoch in self.history)


@dataclass(frozen=True)
class PlannedTrial:
    """A trial with everything it needs. `deadline` (of `time.monotonic`) asks it to save a checkpoint and stop."""

    spec: EncoderRunSpec
    folder: Path
    encoder: EncoderSource
    deadline: float | None = None


Maker = Callable[[Sequence[tuple[PlannedTrial, Verdict]], Dataset], None]
"""Makes trials, whose results are then in their folders, but for those that their deadline stopped.

It raises `StudyInterrupted` if it was asked to stop, also where all trials have ended."""


def make_trials(
    trials: Sequence[PlannedTrial],
    *,
    dataset: Dataset,
    verdicts: Sequence[Verdict],
    jobs: int,
    elsewhere: Maker | None = None,
) -> list[TrialResult | None]:
    """The trials' results, each made in a process of its own unless it is there; None where it was stopped.

    Args:
        trials: They are made at the same time.
        dataset: Their documents.
        verdicts: What ends each of them.
        jobs: How many share the threads of this process.
        elsewhere: Makes them instead of processes of this machine.

    Raises:
        RecordError: A result that is there can't be read.
        ProcessError: A trial could not be written.
        StudyInterrupted: It was asked to stop (Ctrl-C or SIGTERM).
    """
    ended = {trial.folder for trial in trials if (trial.folder / TRIAL_FILE).exists()}
    made: dict[Path, tuple[PlannedTrial, Verdict]] = {}  # two proposals with the same settings are one training
    later: list[tuple[PlannedTrial, Verdict]] = []
    for pair in zip(trials, verdicts, strict=True):
        folder = pair[0].folder
        if folder in ended or folder in made:
            later.append(pair)
        else:
            made[folder] = pair
    if elsewhere is None:
        _run_in_processes(list(made.values()), dataset, jobs)
    else:
        elsewhere(list(made.values()), dataset)
    results = [read_result(trial.folder) if (trial.folder / TRIAL_FILE).exists() else None for trial in trials]
    for trial, verdict in later:
        if (trial.folder / TRIAL_FILE).exists():
            verdict(read_result(trial.folder).history)
    for trial, result in zip(trials, results, strict=True):
        if result is not None:
            # Only now: until the result is written they are all that there is of the training.
            shutil.rmtree(trial.folder / CHECKPOINT_FOLDER, ignore_errors=True)
    return results


def _run_in_processes(pairs: Sequence[tuple[PlannedTrial, Verdict]], dataset: Dataset, jobs: int) -> None:
    """Make trials; see `Maker`."""
    children: dict[StartedChild, PlannedTrial] = {}
    try:
        for trial, verdict in pairs:
            children[_started(trial, dataset, verdict, jobs)] = trial
        while children:
            child = first_to_end(list(children))
            conclude(children.pop(child), child.join())
    except KeyboardInterrupt:  # maybe when the last trial has just ended, so that no result is missing
        raise StudyInterrupted from None
    finally:
        for child in children:
            child.stop()
        for child in children:
            child.join()


def _started(trial: PlannedTrial, dataset: Dataset, verdict: Verdict, jobs: int) -> StartedChild:
    trial.folder.mkdir(parents=True, exist_ok=True)

    def answer(epochs: list[dict[str, Any]]) -> bool:
        return verdict([EpochRecord.model_validate(epoch) for epoch in epochs])

    arguments = {"trial": trial, "dataset": dataset, "in_lines": jobs > 1}
    return StartedChild(try_out, arguments, name=trial.folder.name, answer=answer, threads=threads_of_each(jobs))


def conclude(trial: PlannedTrial, ended: Ended) -> None:
    """Give the trial a result if its process died without one.

    Raises:
        ProcessError: It could not be written.
    """
    if ended.status == UNWRITABLE:
        raise unwritable(trial.folder.name, ended)
    if ended.status not in (FINISHED, INTERRUPTED) and not (trial.folder / TRIAL_FILE).exists():
        _write_result(TrialResult(status="failed", error=ended.complaint or describe_death(ended.status)), trial.folder)


def read_result(folder: Path) -> TrialResult:
    """The result in a trial's folder.

    Raises:
        RecordError: It is missing or damaged.
    """
    remedy = "remove its folder to make it again"
    return read_facts(TrialResult, folder / TRIAL_FILE, what="the result of a trial", remedy=remedy)


def _write_result(result: TrialResult, folder: Path) -> None:
    write_atomically(folder / TRIAL_FILE, result.model_dump_json(indent=1) + "\n")


def try_out(
    child: Child, trial: PlannedTrial, dataset: Dataset, *, in_lines: bool = False, gpus: str | None = None
) -> int:
    """Make a trial: the work of a `StartedChild`. Gives its status.

    Args:
        child: This process.
        trial: The trial.
        dataset: Its documents.
        in_lines: Show the progress in lines, as several trials do at the same time.
        gpus: Those that this process may use, as in `CUDA_VISIBLE_DEVICES`; None for the same as its parent.
    """
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus

    def should_stop() -> bool:
        return child.asked_to_stop() or (trial.deadline is not None and time.monotonic() > trial.deadline)

    def ask(epochs: Sequence[EpochResult]) -> bool:
        return bool(child.ask([asdict(epoch) for epoch in epochs]))

    # A trial whose search was killed may take a moment to see it and end.
    with FileLock(trial.folder / "lock"):
        return _run_and_record(trial, dataset, ask, should_stop, in_lines=in_lines)


def _run_and_record(
    trial: PlannedTrial,
    dataset: Dataset,
    ask: Callable[[Sequence[EpochResult]], bool],
    should_stop: Callable[[], bool],
    *,
    in_lines: bool = False,
) -> int:
    from tanzaku.study.progress import LogFile, RunProgress
    from tanzaku.training.events import Interrupted

    log = LogFile(trial.folder / "log.jsonl")
    history: list[EpochResult] = []
    try:
        with RunProgress(trial.folder.name, in_lines=in_lines) as progress, trial.spec.method.named_errors():
            result = _train(trial, dataset, ask, history, listeners=(progress, log), should_stop=should_stop)
    except (Interrupted, EOFError, ConnectionError):  # asked to stop, by word or by a closed pipe
        return INTERRUPTED
    except (TanzakuError, FloatingPointError) as error:
        result = TrialResult(status="failed", error=str(error), history=_recorded(history))
    except Exception as error:
        if is_of_the_disk(error):
            raise
        write_atomically(trial.folder / "traceback.txt", traceback.format_exc())
        told = f"{type(error).__name__}: {error}"
        result = TrialResult(status="failed", error=told, history=_recorded(history))
    finally:
        log.close()
    _write_result(result, trial.folder)
    return FINISHED


def _train(
    trial: PlannedTrial,
    dataset: Dataset,
    ask: Callable[[Sequence[EpochResult]], bool],
    history: list[EpochResult],
    *,
    listeners: Sequence[Callable[[Event], None]],
    should_stop: Callable[[], bool],
) -> TrialResult:
    """Train until it is done, or until `ask` says that it is not worth going on; `history` gets the epochs."""
    from tanzaku.study.preparation import prepare_training, tokenized_splits
    from tanzaku.training.checkpoint import Checkpoints
    from tanzaku.training.events import EpochDone, Resumed

    train, val, _ = tokenized_splits(trial.spec, dataset, trial.encoder)
    checkpoints = Checkpoints(trial.folder / CHECKPOINT_FOLDER, identity=trial.folder.name)
    prepared = prepare_training(trial.spec, train, val, trial.encoder, dataset.label_names, checkpoints, should_stop)
    pruned = False
    for event in prepared.training.run():
        for listener in listeners:
            listener(event)
        if isinstance(event, Resumed):
            new = event.history
        elif isinstance(event, EpochDone):
            new = (event.result,)
        else:
            continue
        history += new
        # Where training ends here by itself, there is nothing to save: the epoch is judged, but the trial is finished.
        is_over = len(history) == trial.spec.training.epochs or prepared.training.stopping.should_stop
        if new and ask(new) and not is_over:
            pruned = True
            break
    return TrialResult(
        status="pruned" if pruned else "finished",
        history=_recorded(history),
        trainable_parameters=sum(p.numel() for p in prepared.training.model.parameters() if p.requires_grad),
        best_by=prepared.training.best_by,
        val_documents=len(prepared.training.val),
    )


def _recorded(history: Sequence[EpochResult]) -> tuple[EpochRecord, ...]:
    return tuple(EpochRecord(**asdict(epoch)) for epoch in history)
