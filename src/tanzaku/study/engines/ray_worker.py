"""What happens on the machine to which Ray gives a run, and the board on which it and the study leave word.

A worker of Ray forks each run from a server, as a study on one machine does: a run has a process of its own, and the
server has imported everything after a worker's first run.

Where the worker sees the study's folder, it works in it, under the run's lock and with its checkpoints. Otherwise it
works in a temporary folder: the log comes to the study while the run is made, and the rest when it has ended.
"""

import io
import os
import tarfile
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock

from tanzaku.data.dataset import Dataset
from tanzaku.data.download import cache_folder
from tanzaku.encoders.source import EncoderSource, files_of, resolve_encoder
from tanzaku.errors import EncoderError
from tanzaku.files import atomic_folder
from tanzaku.pretraining.record import RECORD_FILE as PRETRAINING_RECORD
from tanzaku.study.making import make_run
from tanzaku.study.planned import PlannedEncoderRun, PlannedRun
from tanzaku.study.process import BUSY, FINISHED, INTERRUPTED, Child, Ended, StartedChild
from tanzaku.study.record import CHECKPOINT_FOLDER, LOG_FILE
from tanzaku.study.states import LOCK_FILE
from tanzaku.study.teacher import SoftLabels
from tanzaku.threads import settle_threads

_POLL_SECONDS = 0.2
_EXCHANGE_SECONDS = 1.0
_NAME_CHARACTERS = 16
_STAYS = {LOCK_FILE, LOG_FILE, CHECKPOINT_FOLDER}

Answer = Literal["make", "busy", "stop", "over"]
_STATUSES: dict[Answer, int] = {"busy": BUSY, "stop": INTERRUPTED, "over": FINISHED}


@dataclass(frozen=True)
class Question:
    """What a worker asks the study."""

    key: str
    """It finds the answer."""
    run_id: str


@dataclass(frozen=True)
class Begins(Question):
    """A worker is about to make a run or a trial, and asks whether it may."""

    shared: bool
    """Whether it sees the study's folder."""


class Board:
    """An actor: what the workers tell the study, and what it answers. Neither waits for the other."""

    def __init__(self) -> None:
        self._stopped = False
        self._asked: list[Question] = []
        self._answers: dict[str, Any] = {}
        self._logs: dict[str, bytes] = {}

    def ask(self, question: Question) -> None:
        """A worker asks something."""
        self._asked.append(question)

    def answer(self, key: str) -> Any:
        """What the study answers it; None so far, and "stop" if every run is to stop."""
        return "stop" if self._stopped else self._answers.pop(key, None)

    def exchange(self, run_id: str, log: bytes) -> bool:
        """A worker hands in new lines of its log; gives whether it is to stop."""
        if log:
            self._logs[run_id] = self._logs.get(run_id, b"") + log
        return self._stopped

    def news(self) -> tuple[list[Question], dict[str, bytes]]:
        """What is new to the study: questions, and lines of logs by run."""
        news = self._asked, self._logs
        self._asked, self._logs = [], {}
        return news

    def reply(self, answers: Mapping[str, Any]) -> None:
        """The study answers questions, by their keys."""
        self._answers.update(answers)

    def stop(self) -> None:
        """Every run is to save a checkpoint and stop."""
        self._stopped = True


@dataclass(frozen=True)
class Shared:
    """What all runs of a study have in common, but what is shipped once."""

    study: str
    threads: int
    uses_gpus: bool
    mark: Path
    """A file in the study's folder, by which a worker knows that it sees this folder and not one of the same name."""
    token: str
    """The mark's content."""


@dataclass(frozen=True)
class Made:
    """What became of a run."""

    ended: Ended
    archive: bytes | None = None
    """The run's folder (`unpack` of the engine reads it), from a worker that does not see the study's."""


def pack_encoder(source: EncoderSource) -> dict[str, np.ndarray]:
    """The files of an encoder as bytes (uint8), which Ray's workers read in place."""
    names = {*files_of(source).names, PRETRAINING_RECORD}
    return {
        name: np.fromfile(source.folder / name, dtype=np.uint8)
        for name in sorted(names)
        if (source.folder / name).is_file()
    }


def work(
    planned: PlannedRun,
    dataset: Dataset,
    encoder: Mapping[str, np.ndarray] | None,
    teacher: SoftLabels | None,
    shared: Shared,
    board: Any,
) -> Made:
    """Make a run: the task that Ray is given.

    Args:
        planned: The run, without its teacher.
        dataset: The study's documents.
        encoder: What `pack_encoder` gave of its encoder, if it has one.
        teacher: Its teacher, if it has one.
        shared: What all runs have in common.
        board: The actor of `Board`.
    """
    settle_threads(shared.threads)  # before the server is started, which inherits how threads wait
    with ExitStack() as stack:
        sees = sees_folder(shared)
        if not sees:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tanzaku-run-")))
            planned = replace(planned, folder=folder / planned.run_id)
        if refused := begin(board, planned.run_id, shared=sees):
            return Made(refused)
        if isinstance(planned, PlannedEncoderRun):
            assert encoder is not None
            planned = replace(planned, encoder=place_encoder(planned.encoder, encoder), teacher=teacher)
        ended = _make(planned, dataset, shared, board, sends_log=not sees)
        return Made(ended, None if sees else _pack(planned.folder))


def sees_folder(shared: Shared) -> bool:
    """Whether this machine sees the study's folder."""
    try:
        return shared.mark.read_text(encoding="ascii") == shared.token
    except OSError:
        return False


def said(reference: Any) -> Any:
    """The board's answer. Ray lends the CPUs of a worker in `ray.get` to other runs, but not of one that waits here."""
    return reference.future().result()


def ask(board: Any, question: Question) -> Any:
    """Ask the study something, and wait for its answer; "stop" if every run is to stop."""
    said(board.ask.remote(question))
    while (answer := said(board.answer.remote(question.key))) is None:
        time.sleep(_POLL_SECONDS)
    return answer


def begin(board: Any, name: str, *, shared: bool) -> Ended | None:
    """Ask the study whether a task may begin; what became of it if it may not."""
    answer: Answer = ask(board, Begins(uuid.uuid4().hex, name, shared))
    return None if answer == "make" else Ended(_STATUSES[answer], None)


def _make(planned: PlannedRun, dataset: Dataset, shared: Shared, board: Any, *, sends_log: bool) -> Ended:
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES") if shared.uses_gpus else ""
    arguments = {"planned": planned, "dataset": dataset, "study": shared.study, "gpus": gpus}
    child = StartedChild(_make_with_gpus, arguments, name=planned.run_id, threads=shared.threads)
    sent, stopped = 0, False
    while not child.has_ended(wait(child.sources(), _EXCHANGE_SECONDS)):
        lines = _new_lines(planned.folder / LOG_FILE, sent) if sends_log else b""
        sent += len(lines)
        if said(board.exchange.remote(planned.run_id, lines)) and not stopped:
            child.stop()
            stopped = True
    if sends_log:
        said(board.exchange.remote(planned.run_id, _new_lines(planned.folder / LOG_FILE, sent)))
    return child.join()


def _make_with_gpus(child: Child, gpus: str | None, **arguments: Any) -> int:
    """`make_run` with the GPUs that Ray chose, which the server that this process was forked from does not know."""
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    return make_run(child, shown="nothing", **arguments)


def _new_lines(log: Path, start: int) -> bytes:
    """The whole lines of a log from a byte on."""
    try:
        with log.open("rb") as handle:
            handle.seek(start)
            new = handle.read()
    except OSError:
        return b""
    return new[: new.rfind(b"\n") + 1]


@cache
def _fingerprint(folder: Path) -> str | None:
    try:
        return resolve_encoder(str(folder)).fingerprint if folder.is_dir() else None
    except (EncoderError, OSError):
        return None


def place_encoder(source: EncoderSource, files: Mapping[str, np.ndarray]) -> EncoderSource:
    """The encoder on this machine: where it is on the study's, or in the cache."""
    if _fingerprint(source.folder) == source.fingerprint:
        return source
    folder = cache_folder() / "encoders" / source.fingerprint[:_NAME_CHARACTERS] / source.folder.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            with atomic_folder(folder) as staging:
                for name, content in files.items():
                    (staging / name).write_bytes(content.data)  # unlike `tofile`, its errors have the system's number
    return replace(source, folder=folder)


def _pack(folder: Path) -> bytes:
    """A run's folder as a tar file, without what stays on this machine or was sent before."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.name not in _STAYS and not path.name.startswith("."):
                archive.add(path, arcname=path.name)
    return content.getvalue()
