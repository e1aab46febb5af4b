"""From the race to the classifier: the choice, the final training, the test, and what more labels would bring."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tanzaku.analysis.abstention import Threshold, choose_threshold, one_of_each
from tanzaku.analysis.learning_curve import LearningCurve, learning_curve
from tanzaku.analysis.reliability import Reliability, reliability_of
from tanzaku.analysis.run_scores import accuracy_scores
from tanzaku.analysis.selection import Selection, select
from tanzaku.analysis.statistics import accuracy_interval_over_both
from tanzaku.data.dataset import Dataset
from tanzaku.data.grouping import same_text, together
from tanzaku.errors import BundleError, ProcessError
from tanzaku.files import atomic_folder
from tanzaku.fitting.budgets import Costs
from tanzaku.fitting.candidates import Candidate
from tanzaku.fitting.compare import FOLDS_FOLDER, Compared
from tanzaku.fitting.forms import costs_key, measure_form, pack_form, predict_in_fewer_bits, predictions_of
from tanzaku.fitting.history import bundle_facts
from tanzaku.fitting.job import RUNS, Job
from tanzaku.fitting.race import (
    Entry,
    classes_of,
    groups_of,
    has_ended,
    make_run,
    selectable,
)
from tanzaku.fitting.splits import fewer
from tanzaku.fitting.verdict import Final, FitFindings, TriedCandidate, mistakes_of
from tanzaku.measure.metrics import Measures, measure
from tanzaku.ship.held_out import HeldOut
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedRun
from tanzaku.study.predictions import StoredPredictions, read_predictions
from tanzaku.study.record import FinishedRun
from tanzaku.study.spec import DataSpec

SHARES = (0.25, 0.5)
"""Of a fold's training documents, for the learning curve, in addition to all of them."""
_NICE = (1, 2, 5)
_ERROR_RATES = (0.01, 0.02, 0.05, 0.1, 0.2)


def finish(job: Job, compared: Compared) -> FitFindings:
    """Choose, train on all documents but those of the test, and pack.

    Raises:
        StudyInterrupted: It was asked to stop.
        BundleError: The bundle can't be written.
    """
    race, rounds = compared.race, len(compared.folds)
    live = race.live if rounds else []
    groups = compared.groups
    classes = np.concatenate([classes_of(fold.dataset) for fold in compared.folds]) if rounds else np.zeros(0, np.int64)
    selection = final = mistakes = curve = chosen = reliability = None
    answers: tuple[tuple[float, Threshold | None], ...] = ()
    held_out = None
    if live:
        labels = len(job.whole.label_names)
        made, by = selectable(live, rounds), job.choose_by
        selection = select(made, classes, labels=labels, margin=job.margin, choose_by=by, groups=groups)
        chosen, final = _train_final(job, compared, [live[place] for place in selection.order])
    if chosen is not None:
        texts = [text for fold in compared.folds for text in fold.dataset.test.texts]
        predicted = selectable([chosen], rounds)[0].predicted
        mistakes = mistakes_of(texts, classes, predicted, label_names=job.whole.label_names)
        curve = _curve(job, compared, chosen.candidate)
        held_out = _held_out(compared, chosen)
        reliability, answers = _probabilities(compared, chosen, held_out)
    shutil.rmtree(race.scratch, ignore_errors=True)
    compared.past.outcome = compared.outcome
    compared.history.write()
    return FitFindings(
        name=job.title,
        documents=sum(map(len, (job.whole.train, job.whole.val, job.whole.test))),
        test_documents=len(job.whole.test),
        label_names=job.whole.label_names,
        folds=rounds,
        planned_folds=race.folds,
        time_over=compared.outcome.time_over,
        only_trained=job.only_trained,
        without_test=job.without_test,
        margin=job.margin,
        selection=selection,
        candidates=_tried(compared, live, selection, chosen),
        final=final,
        mistakes=mistakes,
        curve=curve,
        reliability=reliability,
        answers=answers,
        held_out=0 if held_out is None else len(held_out.correct),
        groups=None if groups is None else len(np.unique(groups)),
    )


def _probabilities(
    compared: Compared, chosen: Entry, held_out: HeldOut | None
) -> tuple[Reliability | None, tuple[tuple[float, Threshold | None], ...]]:
    """How far the probabilities of the documents of all folds can be trusted, and what they promise."""
    if (every := _classified(compared, chosen)) is None or held_out is None:
        return None, ()
    probabilities, correct = held_out.probabilities, held_out.correct
    answers = tuple((rate, choose_threshold(probabilities, correct, error_rate=rate)) for rate in _ERROR_RATES)
    return reliability_of(*every), answers


def _held_out(compared: Compared, entry: Entry) -> HeldOut | None:
    """The documents of all folds, one of each text, or of each group with the same texts: what the bundle promises
    error rates by. None where there are no probabilities."""
    if (every := _classified(compared, entry)) is None:
        return None
    probabilities, correct = every
    tests = [fold.dataset.test for fold in compared.folds]
    texts = [same_text(text) for test in tests for text in test.texts]
    if compared.groups is None:
        rows = one_of_each(np.array(together(texts)))
        return HeldOut.of(probabilities[rows], correct[rows], None, cross_validated=True)
    groups = [group for test in tests for group in test.groups or [None] * len(test)]
    return HeldOut.of(probabilities, correct, together(texts, groups), cross_validated=True)


def _classified(compared: Compared, entry: Entry) -> tuple[np.ndarray, np.ndarray] | None:
    """How probable its label of each document of all folds is, and whether it is right, by a model that had no part in
    the document. None where there are no probabilities."""
    made = [predictions_of(compared.planned(entry.candidate, fold.runs), entry.form) for fold in compared.folds]
    if any(one.probabilities is None for one in made):
        return None
    probabilities = np.concatenate([one.probabilities for one in made if one.probabilities is not None])
    correct = np.concatenate([np.array(one.classes) == np.array(one.predicted) for one in made])
    return probabilities, correct


def _tried(
    compared: Compared, live: Sequence[Entry], selection: Selection | None, chosen: Entry | None
) -> tuple[TriedCandidate, ...]:
    found = {id(entry): one for entry, one in zip(live, selection.candidates if selection else (), strict=True)}
    return tuple(
        TriedCandidate(
            arm=entry.candidate.arm,
            names=compared.race.names[id(entry.candidate)],
            form=entry.form,
            costs=entry.costs,
            least_bytes=entry.least_bytes,
            reason=entry.reason,
            detail=entry.detail,
            needed_seconds=entry.needed_seconds,
            behind=entry.behind,
            selected=found.get(id(entry)) if entry.live else None,
            recommended=entry is chosen,
            best=selection is not None and found.get(id(entry)) is selection.candidates[selection.best],
        )
        for entry in compared.race.entries
    )


def _train_final(job: Job, compared: Compared, order: Sequence[Entry]) -> tuple[Entry | None, Final | None]:
    """Train and pack the first of some entries whose bundle still meets the budgets, on more documents than before."""
    if not order:
        return None, None
    spec = compared.spec.model_copy(update={"data": DataSpec(source=str(job.whole.source))})
    plan = plan_study(spec, dataset=job.whole, out=job.folder / RUNS)
    race = compared.race
    for entry in order:
        planned = compared.planned(entry.candidate, plan.runs)
        race.begin(entry.candidate, planned, fold=None, documents=len(job.whole.train))
        record = make_run(planned, plan.dataset, study=spec.name, deadline=None, ray=race.making.ray)
        if not isinstance(record, FinishedRun):
            entry.drop("failed", record.error if record else "")
            continue
        try:
            costs = _pack_final(job, compared, entry, planned, plan.dataset)
        except (BundleError, ProcessError) as error:  # the next one is not to suffer from it
            entry.drop("failed", str(error))
            continue
        if over := race.budgets.exceeded(costs):
            entry.drop(over)
            continue
        made = predictions_of(planned, entry.form)
        test = _tested(plan.dataset, made)
        entry.costs = costs
        return entry, Final(record, entry.form, costs, test, len(job.whole.train), len(job.whole.val))
    return None, None


def _tested(dataset: Dataset, made: StoredPredictions) -> Measures:
    """What was made of the test documents, with an interval over their groups if they have some."""
    classes, predicted = np.array(made.classes), np.array(made.predicted)
    test = measure(classes, predicted, label_names=dataset.label_names)
    if (groups := groups_of([dataset.test])) is None:
        return test
    interval = accuracy_interval_over_both(accuracy_scores((classes == predicted)[None], groups), [0])
    return replace(test, accuracy_interval=(interval.low, interval.high))


def _pack_final(job: Job, compared: Compared, entry: Entry, planned: PlannedRun, dataset: Dataset) -> Costs:
    """Pack the final run, and put the bundle into its folder if it meets the budgets; what it costs. Nothing is written
    if it is there already."""
    race, key = compared.race, costs_key(planned, entry.form)
    before = compared.outcome.bundle if compared.again and not job.force else None
    known = race.costs.get(key)
    if before and known and before == bundle_facts(job.out, run=key, language=job.language):
        return known
    bundle = race.scratch / "final"
    held_out = _held_out(compared, entry)
    pack_form(planned, entry.form, bundle, compare=True, language=job.language, held_out=held_out)
    costs = measure_form(race.costs, planned, entry.form, bundle, job.whole.test.texts)
    if race.budgets.exceeded(costs):
        return costs
    predict_in_fewer_bits(planned, entry.form, bundle, dataset)
    compared.history.note_bundle(compared.past, bundle)
    with atomic_folder(job.out, replace=True) as staging:
        shutil.copytree(bundle, staging, dirs_exist_ok=True)
    compared.outcome.bundle = bundle_facts(job.out, run=key, language=job.language)
    return costs


def _curve(job: Job, compared: Compared, candidate: Candidate) -> LearningCurve | None:
    """The candidate after training on fewer documents, on as many folds as there is time for; None for no fold."""
    rows: list[list[np.ndarray]] = []
    sizes: list[list[int]] = []
    for fold in compared.folds:
        whole = compared.planned(candidate, fold.runs)
        parts = [(share, fewer(fold.dataset, share=share, seed=job.seed)) for share in SHARES]
        made = [_trained_on(job, compared, candidate, fold.number, share=share, part=part) for share, part in parts]
        if any(one is None for one in made):
            break
        rows.append([*(one for one in made if one is not None), _correct(whole)])
        sizes.append([*(len(part.train) for _, part in parts), len(fold.dataset.train)])
    if not rows:
        return None
    correct = np.stack([np.concatenate(of_size) for of_size in zip(*rows, strict=True)])  # (sizes, documents)
    start = len(job.whole.train)  # of the final training
    more = sorted({nice(0.5 * start), nice(1.5 * start)})
    groups = None if compared.groups is None else compared.groups[: correct.shape[1]]
    measured = np.mean(sizes, axis=0).tolist()
    return learning_curve(measured, correct, trainings=len(rows), start=start, more=more, groups=groups)


def _trained_on(
    job: Job, compared: Compared, candidate: Candidate, number: int, *, share: float, part: Dataset
) -> np.ndarray | None:
    """Whether each test document is classified right after training on a part of a fold; None if time is over."""
    race = compared.race
    only = {"arms": (dict(candidate.arm),), "data": DataSpec(source=part.name)}
    out = job.folder / FOLDS_FOLDER / str(number) / f"share-{share:g}"
    plan = plan_study(compared.spec.model_copy(update=only), dataset=part, out=out)
    planned = plan.runs[0]
    if not has_ended(planned) and not race.clock.left > race.clock.expected(planned, part):
        return None
    race.begin(candidate, planned, fold=number, share=share)
    record = make_run(planned, plan.dataset, study=race.study, deadline=race.clock.deadline, ray=race.making.ray)
    return _correct(planned) if isinstance(record, FinishedRun) else None


def _correct(planned: PlannedRun) -> np.ndarray:
    """Whether each test document was classified right, (documents,) bool."""
    stored = read_predictions(planned.folder)
    correct: np.ndarray = np.array(stored.classes) == np.array(stored.predicted)
    return correct


def nice(number: float) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, … that is no more than a number of 1 or more."""
    power = int("1" + "0" * (len(str(int(max(number, 1)))) - 1))
    return max(digit * power for digit in _NICE if digit * power <= max(number, 1))
