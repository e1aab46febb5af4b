"""From labelled documents to the smallest classifier that does the job: `tanzaku fit`, from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tanzaku.data.decoding import readable_name
from tanzaku.data.findings import warn_of
from tanzaku.data.prepared import MANIFEST
from tanzaku.errors import BundleError, DataError, ProcessError
from tanzaku.extras import require_extra
from tanzaku.files import check_writable, write_atomically
from tanzaku.fitting.documents import labelled
from tanzaku.fitting.history import HISTORY_FILE
from tanzaku.fitting.job import DATA_FOLDER, Job, folders, prepare, study_name
from tanzaku.fitting.options import FitOptions
from tanzaku.fitting.race import FitEvent, Making, usual_jobs
from tanzaku.fitting.sentences import verdict_text
from tanzaku.fitting.splits import split_for_fit, warnings_of
from tanzaku.fitting.verdict import FitFindings
from tanzaku.ship.building import check_out
from tanzaku.study.engines.cluster import connected
from tanzaku.study.spec import StudySpec
from tanzaku.words import words_of

if TYPE_CHECKING:
    from tanzaku.ship.classifier import Classifier

PAGE = "report.html"
_LOCK_FILE = ".lock"


@dataclass(frozen=True)
class FitReport:
    """What was found, and the page that shows it."""

    findings: FitFindings
    sentences: tuple[str, ...]
    """The verdict in words, in the language that was asked for."""
    page: Path
    """report.html in the study's folder."""

    def __str__(self) -> str:
        return "\n".join(self.sentences)


@dataclass(frozen=True)
class FitResult:
    """The classifier, the report and the study of a fit."""

    report: FitReport
    study: StudySpec
    """All candidates that could meet the budgets, on the same documents: for `tanzaku.run_study`."""
    folder: Path
    """The study's folder: study.toml, data, runs and report.html."""
    bundle: Path | None
    """The classifier's folder; None where none is recommended."""
    already_done: bool = False
    """Whether the same was asked before, with as much time at least, so that this is that result."""
    tidied: tuple[str, ...] = ()
    """What was left out of the documents, and done about their labels, in sentences."""

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier, ready to classify.

        Raises:
            BundleError: None is recommended; the report says why.
        """
        from tanzaku.ship.classifier import Classifier

        if self.bundle is None:
            raise BundleError(f"there is no classifier: {self.report}")
        return Classifier.load(self.bundle)


def fit(source: Any, *, listener: Callable[[FitEvent], None] = lambda _: None, **options: Any) -> FitResult:
    """Find the smallest classifier that does the job within the budgets, and pack it.

    About a fifth of the documents is set aside as the test set. The candidates are compared by cross-validation on the
    others, the cheap ones first; the recommended one is trained on all of these, measured on the test set, and packed.
    The same call resumes an interrupted fit, with what is left of its `minutes`. If the fit was finished, it returns
    the same result at once; with more `minutes`, it continues with what there was no time for.

    Args:
        source: A file or folder, a DataFrame or another table, pairs (text, label), a tuple (texts, labels) of lists,
            arrays or columns, a `Dataset`, or the folder of one.
        listener: Called before each run.
        options: Those of `FitOptions`, such as `text="body"`, `max_mb=2` and `out="my-classifier"`.

    Raises:
        TanzakuError: Ray, documents, encoder, candidates or options can't be used; see the subclasses.
        ProcessError: Another fit is working in the study's folder.
        StudyInterrupted: It was asked to stop (Ctrl-C).
        OSError: The bundle's folder or the study's can't be written.
    """
    require_extra("report", purpose="the report")
    asked = FitOptions.of(options)
    job = _job(source, asked, listener)
    from tanzaku.fitting.compare import compare  # these import PyTorch: after the cheap checks
    from tanzaku.fitting.finish import finish

    with _alone_in(job.folder), connected(asked.ray):
        job = replace(job, whole=prepare(job.whole, job.folder))
        compared = compare(job, encoder=asked.encoder, arms=asked.candidates)
        try:
            findings = finish(job, compared)
        finally:
            compared.race.note_time()
    report = _report(findings, job)
    bundle = job.out if findings.final else None
    return FitResult(report, compared.spec, job.folder, bundle, already_done=compared.again, tidied=job.tidied)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other fits out of a study's folder: they would write the same files.

    Raises:
        ProcessError: One is working in it.
    """
    lock = FileLock(folder / _LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ProcessError(
            f"another fit is working in {folder}; wait until it has ended, or name another folder with --study"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _job(source: Any, asked: FitOptions, listener: Callable[[FitEvent], None]) -> Job:
    """Read and split the documents."""
    budgets = asked.budgets
    read = labelled(source, asked.read_options)
    name = study_name(read.name)
    folder, bundle = folders(asked.study, asked.out, name=readable_name(read.name))
    check_writable(folder)
    of_a_fit = (folder / HISTORY_FILE, folder / DATA_FOLDER / MANIFEST, folder / _LOCK_FILE)
    if folder.is_dir() and any(folder.iterdir()) and not any(path.is_file() for path in of_a_fit):
        raise DataError(f"{folder} contains files but no earlier fit; name another folder with --study")
    check_writable(bundle, replaced=True)
    check_out(bundle, force=True)  # `check_bundle_folder` knows whether a bundle that lies there may be replaced
    splits = split_for_fit(
        read.documents,
        read.groups,
        name=read.name,
        seed=asked.seed,
        folds=asked.folds,
        by_column=asked.read_options.group_column is not None or read.documents.groups is not None,
    )
    warn_of(warnings_of(splits, choose_by=asked.choose_by))
    return Job(
        name=name,
        title=readable_name(read.name),
        tidied=read.tidied,
        folder=folder,
        out=bundle,
        whole=splits.whole,
        folds=splits.folds,
        only_trained=splits.only_trained,
        without_test=splits.without_test,
        budgets=budgets,
        margin=asked.margin,
        minutes=asked.minutes,
        seed=asked.seed,
        choose_by=asked.choose_by,
        shared_encoder=asked.shared_encoder,
        shared_dictionary=asked.shared_dictionary,
        language=asked.language,
        listener=listener,
        making=Making(asked.jobs or (None if asked.ray else usual_jobs()), asked.ray),
        retry_failed=asked.retry_failed,
        force=asked.force,
    )


def _report(findings: FitFindings, job: Job) -> FitReport:
    from tanzaku.fitting.page import fit_page

    words = words_of(job.language)
    page = job.folder / PAGE
    write_atomically(page, fit_page(findings, job, words=words))
    return FitReport(findings, verdict_text(findings, words=words).every, page)
