"""From labelled documents to the smallest classifier that does the job: `tanzaku fit`, from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tanzaku.analysis.recommendation import DEFAULT_MARGIN
from tanzaku.data.decoding import readable_name
from tanzaku.data.options import ReadOptions
from tanzaku.encoders.source import EMBEDDED_NAME
from tanzaku.errors import BundleError, SpecError
from tanzaku.extras import require_extra
from tanzaku.files import check_writable, write_atomically
from tanzaku.fitting.budgets import Budgets
from tanzaku.fitting.documents import labelled
from tanzaku.fitting.job import Job, folders, prepare, study_name
from tanzaku.fitting.race import FitEvent
from tanzaku.fitting.sentences import verdict_text
from tanzaku.fitting.splits import FOLDS, split_for_fit
from tanzaku.fitting.verdict import FitFindings
from tanzaku.measure.metrics import DEFAULT_CHOOSE_BY, ChooseBy
from tanzaku.study.spec import StudySpec
from tanzaku.words import Language, words_of

if TYPE_CHECKING:
    from tanzaku.ship.classifier import Classifier

DEFAULT_MINUTES = 20.0
DEFAULT_SEED = 42
PAGE = "report.html"


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


def fit(
    source: Any,
    *,
    text: str = "text",
    label: str = "label",
    group: str | None = None,
    reading: ReadOptions | None = None,
    max_mb: float | None = None,
    max_ms: float | None = None,
    max_memory_mb: float | None = None,
    shared_encoder: bool = False,
    margin: float = DEFAULT_MARGIN,
    minutes: float = DEFAULT_MINUTES,
    out: str | Path | None = None,
    study: str | Path | None = None,
    encoder: str | None = EMBEDDED_NAME,
    candidates: Sequence[Mapping[str, Any]] | None = None,
    choose_by: ChooseBy = DEFAULT_CHOOSE_BY,
    folds: int = FOLDS,
    seed: int = DEFAULT_SEED,
    language: Language = "en",
    force: bool = False,
    listener: Callable[[FitEvent], None] = lambda _: None,
) -> FitResult:
    """Find the smallest classifier that does the job within the budgets, and pack it.

    A fifth of the documents is set aside as the test set. The candidates are compared by cross-validation on the
    others, the cheap ones first; the recommended one is trained on all of these, measured on the test set, and packed.
    The same call resumes an interrupted fit.

    Args:
        source: A file or folder, a DataFrame or another table, pairs (text, label), two lists (texts, labels), or a
            `Dataset`.
        text: The column of the texts.
        label: The column of the labels.
        group: The column of the groups, if there is one; the documents of a group are never on both sides of a split.
        reading: How to read it, and what to do about rows and labels, instead of these three.
        max_mb: The most megabytes of all files that the classifier needs, its encoder's too.
        max_ms: The most milliseconds for one document, the median on this machine with one thread.
        max_memory_mb: The most megabytes of memory of a process that classifies.
        shared_encoder: The encoder is there anyway where the classifier is going to work, and does not count.
        margin: How much worse than the best candidate the recommended one may be, a share; see
            `tanzaku.analysis.selection`.
        minutes: The time budget. The final training is not cut off, so that a fit may take somewhat longer.
        out: The bundle's folder, new or empty; None takes `bundle` in the study's folder.
        study: The study's folder; None takes `out` with "-study" at the end, or a folder in `runs`.
        encoder: The encoder that methods adapt; None tries only methods that need none.
        candidates: Arms as in a study file, instead of the usual ladder.
        choose_by: What candidates are compared by.
        folds: Of the cross-validation, 2 or more; a single one where it has 1,000 documents.
        seed: Of the splits and the runs.
        language: Of the report.
        force: Replace a bundle that lies in `out`.
        listener: Called before each run.

    Raises:
        TanzakuError: Documents, encoder, candidates or budgets can't be used; see the subclasses.
        StudyInterrupted: It was asked to stop (Ctrl-C or SIGTERM).
        OSError: `out` or the study's folder can't be written.
    """
    require_extra("report", purpose="the report")
    if not minutes > 0:
        raise SpecError(f"minutes = {minutes:g}; give a number above 0")
    if folds < 2:
        raise SpecError(f"folds = {folds}; give 2 or more")
    budgets = Budgets(max_mb, max_ms, max_memory_mb)
    reading = reading or ReadOptions(text_column=text, label_column=label, group_column=group)
    read = labelled(source, reading)
    folder, bundle = folders(study, out, name=study_name(read.name))
    check_writable(folder)
    check_writable(bundle)
    splits = split_for_fit(read.documents, read.groups, name=read.name, seed=seed, folds=folds)
    job = Job(
        name=study_name(read.name),
        title=readable_name(read.name),
        folder=folder,
        out=bundle,
        whole=prepare(splits, folder),
        folds=splits.folds,
        budgets=budgets,
        margin=margin,
        minutes=minutes,
        seed=seed,
        choose_by=choose_by,
        shared_encoder=shared_encoder,
        listener=listener,
    )
    from tanzaku.fitting.compare import compare  # these import PyTorch: after the cheap checks
    from tanzaku.fitting.finish import check_bundle_folder, finish

    check_bundle_folder(bundle, fingerprint=job.whole.fingerprint, force=force)
    compared = compare(job, encoder=encoder, arms=candidates)
    findings = finish(job, compared)
    return FitResult(_report(findings, job, language), compared.spec, folder, bundle if findings.final else None)


def _report(findings: FitFindings, job: Job, language: Language) -> FitReport:
    from tanzaku.fitting.page import fit_page

    words = words_of(language)
    page = job.folder / PAGE
    write_atomically(page, fit_page(findings, job, words=words))
    return FitReport(findings, verdict_text(findings, words=words).every, page)
