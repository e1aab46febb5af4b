"""One run trained by several processes on one machine: the run's own process, which records it, and helpers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from tanzaku.data.dataset import Dataset
from tanzaku.errors import ProcessError, TanzakuError
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.preparation import prepare_training, tokenized_splits
from tanzaku.study.process import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    Child,
    DeadlineOver,
    StartedChild,
    describe_death,
    first_to_end,
)
from tanzaku.study.record import CHECKPOINT_FOLDER
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.events import Interrupted
from tanzaku.training.peers import Peers, joined

_GRACE_SECONDS = 10.0  # for helpers to say why they ended, after the connection to one broke


def run_checkpoints(planned: PlannedEncoderRun) -> Checkpoints:
    """The checkpoints of a run, which belong to it only."""
    return Checkpoints(planned.folder / CHECKPOINT_FOLDER, identity=planned.run_id)


@contextmanager
def trained_together(planned: PlannedEncoderRun, dataset: Dataset) -> Iterator[Peers]:
    """Start the other processes that train the run; they share the threads, and end with the training.

    Raises:
        ProcessError: One of them failed.
    """
    if planned.processes == 1:
        yield Peers()
        return
    threads = torch.get_num_threads()
    each = max(1, threads // planned.processes)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        facts = {"planned": planned, "dataset": dataset, "store": store}
        helpers = [
            StartedChild(_train, {**facts, "number": number}, name=f"{planned.run_id}-{number}", threads=each)
            for number in range(1, planned.processes)
        ]
        torch.set_num_threads(each)
        try:
            with joined(0, planned.processes, store=store) as peers:
                yield peers
                for helper in helpers:
                    first_to_end([helper])
        except RuntimeError as error:  # PyTorch's, as when the connection to a process breaks
            reason = _complaint(helpers)
            if reason is None:
                raise
            raise ProcessError(f"a process that trained the run with others failed: {reason}") from error
        finally:
            torch.set_num_threads(threads)
            for helper in helpers:
                helper.kill()


def _complaint(helpers: Sequence[StartedChild]) -> str | None:
    """Why a helper failed, where one did."""
    deadline = time.monotonic() + _GRACE_SECONDS
    for helper in helpers:
        try:
            first_to_end([helper], deadline=deadline)
        except DeadlineOver:  # it still runs
            continue
        ended = helper.join()
        if ended.complaint or ended.status < 0:
            return ended.complaint or describe_death(ended.status)
    return None


def _train(child: Child, planned: PlannedEncoderRun, dataset: Dataset, store: Path, number: int) -> int:
    """What a helper does: the same steps, and nothing else."""
    spec = planned.spec
    try:
        with joined(number, planned.processes, store=store) as peers:
            train, val, _ = tokenized_splits(spec, dataset, planned.encoder)
            prepared = prepare_training(
                spec,
                train,
                val,
                planned.encoder,
                dataset.label_names,
                run_checkpoints(planned),
                child.asked_to_stop,
                teacher=planned.teacher,
                peers=peers,
            )
            for _ in prepared.training.run():
                pass
    except Interrupted:
        return INTERRUPTED
    except (TanzakuError, FloatingPointError):  # the first process meets the same one, and records it
        return FAILED
    except Exception as error:
        child.complain(f"process {number}: {type(error).__name__}: {error}")
        return FAILED
    return FINISHED
