"""Continued pretraining of a study's encoder on the texts of its training split, made once and found ever after.

    <the study's folder>/encoders/<key>/        the encoder with its record, whole or absent
    <the study's folder>/encoders/<key>.work/   text, tokens and checkpoints, while it lasts
    <the study's folder>/encoders/<key>.lock

The key is a hash of the training texts, the encoder's fingerprint and the options.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from tanzaku.display import plain_console
from tanzaku.encoders.source import EncoderSource, resolve_encoder
from tanzaku.errors import TanzakuError
from tanzaku.files import write_atomically
from tanzaku.pretraining.options import ContinuedOptions, PretrainOptions
from tanzaku.pretraining.record import RECORD_FILE, read_pretrain_record
from tanzaku.study.process import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    Child,
    StudyInterrupted,
    describe_death,
    run_child,
)
from tanzaku.study.record import PretrainingFacts

ENCODERS_FOLDER = "encoders"
_TEXT_FILE = "training-texts.txt"
_KEY_CHARACTERS = 16
_LOCK_POLL_SECONDS = 1.0


def pretrained_encoder(
    base: EncoderSource, options: ContinuedOptions, *, texts: Sequence[str], out: Path, progress: bool = False
) -> EncoderSource:
    """The encoder after continued pretraining on `texts`; made in a process of its own unless it is there.

    Where another process is making it, this one waits, and takes over if that one dies.

    Args:
        base: The encoder to go on from.
        options: How.
        texts: The training split's, each a document. No others may be given: what the encoder has read of a
            validation or test text would flatter its accuracy there.
        out: The study's folder.
        progress: Show the progress on standard error.

    Returns:
        The result under the base's name.

    Raises:
        StudyInterrupted: It was asked to stop (Ctrl-C or SIGTERM); a checkpoint is saved.
        TanzakuError: It failed; the message says why.
    """
    resolved = options.going_on_from(str(base.folder))
    text = text_of(texts)
    other = {} if options.fast else {"fast": False}
    sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
    key = resolved.identity(texts=[sha256], encoder=base.fingerprint, **other)
    folder = out / ENCODERS_FOLDER / key[:_KEY_CHARACTERS]
    if not (folder / RECORD_FILE).exists():
        _make_in_process(text, folder, resolved, progress=progress)
    made = resolve_encoder(str(folder))
    return EncoderSource(name=base.name, folder=made.folder, fingerprint=made.fingerprint)


def text_of(texts: Sequence[str]) -> str:
    """The texts as one text with a blank line after each; blank lines inside them are left out, as are empty texts."""
    documents = ("\n".join(line for line in text.replace("\r", "\n").split("\n") if line.strip()) for text in texts)
    return "".join(f"{document}\n\n" for document in documents if document)


def pretraining_facts(encoder: EncoderSource) -> PretrainingFacts:
    """What a run's record says of the pretraining that gave `encoder`.

    Raises:
        RecordError: The pretraining's record is missing or damaged.
    """
    record = read_pretrain_record(encoder.folder)
    last = record.history[-1]
    assert record.encoder.from_fingerprint is not None
    return PretrainingFacts(
        folder=f"{ENCODERS_FOLDER}/{encoder.folder.name}",
        identity=record.identity,
        base_fingerprint=record.encoder.from_fingerprint,
        documents=record.stream.documents,
        steps=record.steps,
        tokens_seen=record.tokens_seen,
        seconds=record.seconds,
        first_held_out_loss=record.history[0].held_out_loss,
        held_out_loss=last.held_out_loss,
        held_out_accuracy=last.held_out_accuracy,
    )


def _make_in_process(text: str, folder: Path, options: PretrainOptions, *, progress: bool) -> None:
    """Memory, threads and a GPU are given back when the process ends, before the first run begins."""
    ended = run_child(
        _work, name=f"pretraining {folder.name}", text=text, folder=folder, options=options, progress=progress
    )
    if ended.status == INTERRUPTED:
        raise StudyInterrupted
    if ended.status != FINISHED:
        reason = ended.complaint or describe_death(ended.status)
        raise TanzakuError(f"the encoder could not be pretrained on the training texts: {reason}")


def _work(child: Child, text: str, folder: Path, options: PretrainOptions, progress: bool) -> int:
    try:
        return FINISHED if _make_alone(text, folder, options, progress, child.asked_to_stop) else INTERRUPTED
    except TanzakuError as error:
        child.complain(str(error))
        return FAILED


def _make_alone(
    text: str, folder: Path, options: PretrainOptions, progress: bool, asked_to_stop: Callable[[], bool]
) -> bool:
    """Make it, or wait for the process that does; False where it was asked to stop."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    while not asked_to_stop():
        try:
            with lock.acquire(timeout=_LOCK_POLL_SECONDS):
                return (folder / RECORD_FILE).exists() or _make(text, folder, options, progress, asked_to_stop)
        except Timeout:
            continue
    return False


def _make(text: str, folder: Path, options: PretrainOptions, progress: bool, asked_to_stop: Callable[[], bool]) -> bool:
    from tanzaku.pretraining.prepare import Reading
    from tanzaku.pretraining.progress import PretrainProgress
    from tanzaku.pretraining.run import pretrain

    work = folder.with_name(f"{folder.name}.work")
    file = work / _TEXT_FILE
    write_atomically(file, text)
    with PretrainProgress(console=plain_console(stderr=True, quiet=not progress)) as show:

        def report(event: object) -> None:
            show(event)
            if asked_to_stop() and isinstance(event, Reading):
                raise StudyInterrupted  # there is nothing to save yet

        try:
            record = pretrain([file], folder, options=options, work=work, report=report, stop=asked_to_stop)
        except StudyInterrupted:
            return False
    if record is None:
        return False
    shutil.rmtree(work, ignore_errors=True)
    return True
