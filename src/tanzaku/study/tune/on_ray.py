"""Trials as tasks of Ray, on this machine or on a cluster whose machines share the search's folder.

A worker makes a trial as this machine would, and sends each epoch to the search, which judges it. Ray starts a trial
again whose worker died; it resumes from its checkpoint.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from tanzaku.data.dataset import Dataset
from tanzaku.files import write_atomically
from tanzaku.study.engines.cluster import (
    GIVEN_UP,
    POLL_SECONDS,
    RETRIES,
    STOP_SECONDS,
    Attempts,
    Cluster,
    result_of,
)
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.engines.ray_worker import (
    Begins,
    Board,
    Question,
    Shared,
    ask,
    begin,
    pack_encoder,
    place_encoder,
    said,
    sees_folder,
)
from tanzaku.study.process import INTERRUPTED, UNWRITABLE, Ended, StartedChild, StudyInterrupted
from tanzaku.study.record import EpochRecord
from tanzaku.study.tune.trial import PlannedTrial, Verdict, conclude, try_out
from tanzaku.threads import settle_threads

_EXCHANGE_SECONDS = 1.0


@dataclass(frozen=True)
class Judge(Question):
    """A worker asks whether a trial is to end here."""

    epochs: list[dict[str, Any]]


class RayTrials:
    """Makes the trials of a round with Ray.

    Args:
        options: Where the machines are, and what a trial takes of them.
        jobs: How many trials are made at the same time.
        study: The study's name.
    """

    def __init__(self, options: RayOptions, *, jobs: int, study: str) -> None:
        self._options = options
        self._threads = options.threads_per_run(jobs)
        self._study = study

    def __call__(self, pairs: Sequence[tuple[PlannedTrial, Verdict]], dataset: Dataset) -> None:
        """Make trials; see `Maker`.

        Raises:
            ProcessError: A trial could not be written, or Ray can't make it.
            StudyInterrupted: It was asked to stop.
        """
        import ray

        if not pairs:
            return
        cluster, options = Cluster(self._options.address), self._options
        cluster.connect(cpus=self._threads, gpus=options.gpus_per_run, memory=options.memory_per_run or 0)
        folder, token = pairs[0][0].folder.parent.absolute(), uuid.uuid4().hex
        mark = folder / f".ray-{token}"
        try:
            write_atomically(mark, token)
            shared = Shared(self._study, self._threads, options.gpus_per_run > 0, mark, token)
            board, documents = cluster.actor_here(Board), ray.put(dataset)
            # Trials can have several, since `pretrain` is an axis and can be searched.
            sources = {trial.encoder.fingerprint: trial.encoder for trial, _ in pairs}
            encoders = {name: ray.put(pack_encoder(source)) for name, source in sources.items()}
            tasks: dict[Any, PlannedTrial] = {}
            for trial, _ in pairs:
                # The working directory of a worker is another one.
                shipped = replace(trial, folder=trial.folder.absolute())
                encoder = encoders[trial.encoder.fingerprint]
                tasks[self._task(trial).remote(shipped, documents, encoder, shared, board)] = trial
            _Round(tasks, {trial.folder.name: verdict for trial, verdict in pairs}, board).attend()
        finally:
            mark.unlink(missing_ok=True)
            cluster.disconnect()

    def _task(self, trial: PlannedTrial) -> Any:
        import ray

        return ray.remote(work).options(
            name=trial.folder.name,
            num_cpus=self._threads,
            num_gpus=self._options.gpus_per_run,
            memory=self._options.memory_per_run,
            max_retries=RETRIES,
        )


class _Round:
    """Trials that Ray was given.

    Args:
        tasks: Ray's, with their trials.
        verdicts: What ends each trial, by its folder's name.
        board: The actor of `Board`.
    """

    def __init__(self, tasks: dict[Any, PlannedTrial], verdicts: Mapping[str, Verdict], board: Any) -> None:
        self._tasks, self._verdicts, self._board = tasks, verdicts, board
        self._trials = {trial.folder.name: trial for trial in tasks.values()}
        self._attempts = Attempts()

    def attend(self) -> None:
        """Judge epochs until all trials have ended, or were stopped.

        Raises:
            ProcessError: A trial could not be written, or Ray can't make it.
            StudyInterrupted: It was asked to stop.
        """
        import ray

        deadline = min((trial.deadline for trial in self._trials.values() if trial.deadline is not None), default=None)
        interrupted = False
        end: float | None = None  # of the time that they have to save a checkpoint
        try:
            while self._tasks and (end is None or time.monotonic() < end):
                try:
                    self._step()
                except KeyboardInterrupt:
                    interrupted = True
                if end is None and (interrupted or (deadline is not None and time.monotonic() > deadline)):
                    ray.get(self._board.stop.remote())
                    end = time.monotonic() + STOP_SECONDS
        finally:
            for task in self._tasks:
                ray.cancel(task, force=True)
        if interrupted:  # maybe when the last trial had just ended, so that no result is missing
            raise StudyInterrupted

    def _step(self) -> None:
        import ray

        done, _ = ray.wait(list(self._tasks), num_returns=1, timeout=POLL_SECONDS)
        asked, _ = ray.get(self._board.news.remote())
        answers = {one.key: self._answer(one) for one in asked}
        if answers:
            ray.get(self._board.reply.remote(answers))
        for task in done:
            conclude(self._tasks.pop(task), _ended(task))

    def _answer(self, asked: Question) -> Any:
        """Whether a worker is to make a trial, or to end it here."""
        name = asked.run_id
        if isinstance(asked, Judge):
            return self._verdicts[name]([EpochRecord.model_validate(epoch) for epoch in asked.epochs])
        assert isinstance(asked, Begins)
        if self._attempts.begin(name):
            return "make"
        conclude(self._trials[name], GIVEN_UP)
        return "over"


def _ended(task: Any) -> Ended:
    import ray

    try:
        ended: Ended = result_of(task, name="a trial")
        return ended
    except ray.exceptions.TaskCancelledError:
        return Ended(INTERRUPTED, None)


def work(trial: PlannedTrial, dataset: Dataset, encoder: Mapping[str, np.ndarray], shared: Shared, board: Any) -> Ended:
    """Make a trial: the task that Ray is given.

    Args:
        trial: The trial.
        dataset: The search's documents.
        encoder: What `pack_encoder` gave of its encoder.
        shared: What all trials have in common.
        board: The actor of `Board`.
    """
    settle_threads(shared.threads)  # before the server is started, which inherits how threads wait
    if not sees_folder(shared):
        return Ended(
            UNWRITABLE,
            f"a machine of the Ray cluster does not see {shared.mark.parent}; give a folder that all machines share "
            "(--out)",
        )
    name = trial.folder.name
    if refused := begin(board, name, shared=True):
        return refused
    # The clock of a deadline is the search's.
    trial = replace(trial, encoder=place_encoder(trial.encoder, encoder), deadline=None)

    def answer(epochs: list[dict[str, Any]]) -> bool:
        return ask(board, Judge(uuid.uuid4().hex, name, epochs)) is True

    arguments = {
        "trial": trial,
        "dataset": dataset,
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES") if shared.uses_gpus else "",
    }
    child = StartedChild(try_out, arguments, name=name, answer=answer, threads=shared.threads)
    stopped = False
    while not child.has_ended(wait(child.sources(), _EXCHANGE_SECONDS)):
        if said(board.exchange.remote(name, b"")) and not stopped:
            child.stop()
            stopped = True
    return child.join()
