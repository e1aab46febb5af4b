"""The race: candidates are measured fold by fold, and those that can't be taken drop out.

Each round trains every candidate that is left on one more fold. A candidate drops out when its bundle does not meet a
budget, when it failed, when there is no time for it, or when it is significantly worse than the best by more than the
margin on the folds so far (as in Maron and Moore 1994, "Hoeffding races"). Only whole rounds count, so that all that
are left at the end have classified the same documents. Time that is left then goes to candidates that dropped out for
lack of it. Rounds that an earlier call completed are never given up: what has no time for them drops out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import groupby, zip_longest
from typing import Any

import numpy as np

from tanzaku.analysis.selection import hopeless, scores_of
from tanzaku.errors import BundleError, ProcessError
from tanzaku.fitting.candidates import Candidate
from tanzaku.fitting.clock import trains_encoder
from tanzaku.fitting.forms import predictions, weigh
from tanzaku.fitting.race import (
    Behind,
    Entry,
    Fold,
    Race,
    Record,
    classes_of,
    has_ended,
    make_run,
    make_several,
    selectable,
)
from tanzaku.study.planned import PlannedRun
from tanzaku.study.record import FailedRun, read_record

_CHEAP = 5  # runs that take less than such a part of the longest one's time are not worth to be left out
# So many rounds must fit into the time, so that it is worth to begin with a candidate; or fewer that classify so many
# documents, where no candidate that trains the encoder would be tried otherwise.
_ROUNDS, _ENOUGH_DOCUMENTS = 3, 300


@dataclass(frozen=True)
class Raced:
    """How a race ended."""

    rounds: int
    """Whole ones."""
    time_over: bool
    """Whether there would have been more with more time."""


def run_race(race: Race, folds: Sequence[Fold]) -> Raced:
    """Race until all folds are done, nothing is left, or the time is over.

    Raises:
        StudyInterrupted: It was asked to stop; the same call resumes it.
    """
    truth: list[np.ndarray] = []
    time_over = False
    for fold in folds:
        if not race.live:
            break
        if time_over := not _round(race, folds, fold, truth):
            break
    _use_what_is_left(race, folds[: len(truth)], truth)
    for entry in race.entries:
        if entry.reason == "time" and (needed := _needed_by(race, entry.candidate, folds)) >= 1:
            entry.needed_seconds = needed
    return Raced(len(truth), time_over)


def _round(race: Race, folds: Sequence[Fold], fold: Fold, truth: list[np.ndarray]) -> bool:
    """Measure what is left on a fold, and add the fold's classes to `truth`; False where there is no time for it."""
    rounds = fold.number - 1
    pairs = _pairs(race, fold)
    made = all(has_ended(planned) for _, planned in pairs)
    if rounds >= max(1, race.rounds_before) and not made and not race.clock.left:
        return False
    if rounds:
        _drop_for_time(race, folds, np.concatenate(truth), rounds=rounds)
        pairs = _pairs(race, fold)
    for _, some in groupby(pairs, key=lambda pair: pair[1].spec.kind == "text"):
        if not _measure_some(race, list(some), fold):
            return False
    truth.append(classes_of(fold.dataset))
    race.completed(fold.number)
    _drop_hopeless(race, np.concatenate(truth), race.live, rounds=fold.number)
    return True


def _pairs(race: Race, fold: Fold) -> list[tuple[Candidate, PlannedRun]]:
    """The candidates that are left, with their runs on a fold."""
    return [pair for pair in zip(race.candidates, fold.runs, strict=True) if race.of(pair[0])]


def _measure_some(race: Race, pairs: Sequence[tuple[Candidate, PlannedRun]], fold: Fold) -> bool:
    """Train candidates, as many at the same time as there are jobs, and measure each one when its training has ended;
    False where the time was over."""
    candidates = {planned.run_id: candidate for candidate, planned in pairs}
    over, measured, rounds = False, set[str](), _rounds_to_begin(race, pairs, fold)

    def begins(planned: PlannedRun) -> bool:
        nonlocal over
        candidate = candidates[planned.run_id]
        if not over and not _has_time(race, candidate, planned, fold, rounds=rounds):
            over = not _give_up(race, candidate, fold)
        if over or not race.of(candidate):
            return False
        race.begin(candidate, planned, fold=fold.number)
        return True

    def ended(planned: PlannedRun, record: Record) -> None:
        _measure(race, candidates[planned.run_id], planned, record, fold)
        measured.add(planned.run_id)

    runs = [planned for _, planned in pairs]
    facts: dict[str, Any] = {"study": race.study, "deadline": race.clock.deadline, "ended": ended, "begins": begins}
    make_several(runs, fold.dataset, **facts, jobs=race.making.jobs, ray=race.making.ray)
    for planned in runs:
        if planned.run_id not in measured and has_ended(planned):  # while it was asked to stop
            ended(planned, read_record(planned.folder))
    left = [candidate for candidate, planned in pairs if planned.run_id not in measured and race.of(candidate)]
    return all(_give_up(race, candidate, fold) for candidate in left)


def _rounds_to_begin(race: Race, pairs: Sequence[tuple[Candidate, PlannedRun]], fold: Fold) -> int:
    """How many rounds must fit into the time so that a candidate is begun, with the one of this fold."""
    if fold.number > 1:
        return 1
    rounds = max(min(race.folds, _ROUNDS), race.rounds_before)
    training = [pair for pair in pairs if trains_encoder(pair[1].spec)]
    if not training or any(has_ended(planned) for _, planned in training):
        return rounds
    quickest = min(race.clock.expected(planned, fold.dataset) for _, planned in training)
    weighing = min(_weighing(race, *pair) for pair in training)
    fitting = (race.clock.left - weighing - race.final_share * quickest) / max(quickest, 1e-9)
    fewest = max(1, race.rounds_before, math.ceil(_ENOUGH_DOCUMENTS / len(fold.dataset.test)))
    return rounds if fitting >= rounds else max(min(rounds, fewest), math.floor(fitting))


def _has_time(race: Race, candidate: Candidate, planned: PlannedRun, fold: Fold, *, rounds: int) -> bool:
    """Whether so many runs of a candidate fit into what is left, with the final training like them and with the time to
    weigh its forms. A run that was made before takes no time."""
    needed = (rounds + race.final_share) * race.clock.expected(planned, fold.dataset)
    return has_ended(planned) or race.clock.left > needed + _weighing(race, candidate, planned)


def _weighing(race: Race, candidate: Candidate, planned: PlannedRun) -> float:
    """The seconds that it takes to weigh the forms of a candidate that were not weighed yet."""
    entries = [one for one in race.entries if one.candidate is candidate and one.reason in (None, "time")]
    return sum(one.costs is None for one in entries) * race.clock.weighing(planned)


def _give_up(race: Race, candidate: Candidate, fold: Fold) -> bool:
    """Let a candidate drop out for which there is no time; False where the round is to be given up instead, so that
    those that are cheap do not win only because they are."""
    if fold.number > max(1, race.rounds_before):
        return False
    for entry in race.of(candidate):
        entry.drop("time")
    return True


def _place(race: Race, candidate: Candidate) -> int:
    """Of a candidate among all, and of its run among those of a fold."""
    return next(place for place, one in enumerate(race.candidates) if one is candidate)


def _waiting(race: Race, candidate: Candidate, folds: Iterable[Fold]) -> list[float]:
    """The seconds of each run that a candidate still needs on some folds."""
    place = _place(race, candidate)
    waiting = [fold for fold in folds if not has_ended(fold.runs[place])]
    return [race.clock.expected(fold.runs[place], fold.dataset) for fold in waiting]


def _needed(race: Race, waiting: Iterable[Sequence[float]]) -> float:
    """The seconds of the runs that some candidates still need, with the final training of one of them.

    The seconds were measured of runs that shared the machine, so they include what is gained or lost by that.
    """
    candidates = list(waiting)
    rounds = zip_longest(*candidates, fillvalue=0.0)
    longest = max((max(one, default=0.0) for one in candidates), default=0.0)
    return sum(_seconds_of_round(race, one) for one in rounds) + race.final_share * longest


def _needed_by(race: Race, candidate: Candidate, folds: Sequence[Fold]) -> float:
    """The seconds that a candidate still needs on some folds, with the final training and what it takes to weigh it."""
    planned = folds[0].runs[_place(race, candidate)]
    return _needed(race, [_waiting(race, candidate, folds)]) + _weighing(race, candidate, planned)


def _seconds_of_round(race: Race, runs: Sequence[float]) -> float:
    """Each run begins, in their order, when there is a place for it."""
    free = [0.0] * race.at_once  # when each place is
    for seconds in runs:
        heapreplace(free, free[0] + seconds)
    return max(free)


def _drop_for_time(race: Race, folds: Sequence[Fold], classes: np.ndarray, *, rounds: int) -> None:
    """Where time is short for all that are left, drop the expensive ones that did worst, so that the others can be
    measured on all folds; of these, bring back what still fits."""
    live = race.live
    scores: dict[int, float] = {}  # by a candidate's `id`, its best form's
    found = scores_of(selectable(live, rounds), classes, labels=race.labels, choose_by=race.choose_by)
    for entry, score in zip(live, found, strict=True):
        scores[id(entry.candidate)] = max(float(score), scores.get(id(entry.candidate), 0.0))
    waiting = {id(one.candidate): _waiting(race, one.candidate, folds[rounds:]) for one in live}
    best = max(scores, key=lambda key: scores[key])
    left, dropped = dict(waiting), list[int]()
    while _needed(race, left.values()) > race.clock.left:
        most = max(map(sum, left.values()))
        expensive = [key for key in left if key != best and sum(left[key]) > most / _CHEAP]
        if not expensive:
            break
        dropped.append(min(expensive, key=lambda key: scores[key]))
        del left[dropped[-1]]
    for key in sorted(dropped, key=lambda key: -scores[key]):
        # In the order in which a round makes them: which runs share the time depends on it.
        again = {one: seconds for one, seconds in waiting.items() if one in left or one == key}
        if _needed(race, again.values()) <= race.clock.left:
            left = again
    for entry in live:
        if id(entry.candidate) not in left:
            entry.drop("time")


def _use_what_is_left(race: Race, folds: Sequence[Fold], truth: Sequence[np.ndarray]) -> None:
    """Bring candidates back that dropped out for lack of time, as long as one fits into what is left after all."""
    for candidate in race.candidates:
        entries = [entry for entry in race.entries if entry.candidate is candidate and entry.reason == "time"]
        if not entries or not folds or not _fits(race, candidate, folds):
            continue
        for entry in entries:
            entry.bring_back()
        for fold in folds:
            pair = next(pair for pair in zip(race.candidates, fold.runs, strict=True) if pair[0] is candidate)
            race.begin(*pair, fold=fold.number)
            deadline, ray = race.clock.deadline, race.making.ray
            record = make_run(pair[1], fold.dataset, study=race.study, deadline=deadline, ray=ray)
            if record is not None:
                _measure(race, *pair, record, fold)
            else:
                for entry in race.of(candidate):
                    entry.drop("time")
            _drop_hopeless(race, np.concatenate(truth[: fold.number]), race.of(candidate), rounds=fold.number)
            if not race.of(candidate):
                break


def _fits(race: Race, candidate: Candidate, folds: Sequence[Fold]) -> bool:
    """Whether a candidate's runs on some folds fit into what is left."""
    return not _waiting(race, candidate, folds) or race.clock.left > _needed_by(race, candidate, folds)


def _measure(race: Race, candidate: Candidate, planned: PlannedRun, record: Record, fold: Fold) -> None:
    """See what the forms of a candidate that was trained on a fold predict and cost."""
    if isinstance(record, FailedRun):
        for entry in race.of(candidate):
            entry.drop("failed", record.error)
        return
    race.clock.learn(planned, record, fold.dataset)
    for entry in race.of(candidate):
        try:
            if fold.number == 1:
                entry.costs = weigh(race, planned, entry.form, fold.dataset)
                if over := race.budgets.exceeded(entry.costs):
                    entry.drop(over)
                    continue
            read_entry(race, entry, planned, fold)
        except (BundleError, ProcessError) as error:  # the others are not to suffer from it
            entry.drop("failed", str(error))


def read_entry(race: Race, entry: Entry, planned: PlannedRun, fold: Fold) -> None:
    """Take what an entry's run predicted on a fold."""
    entry.predicted[fold.number] = np.array(predictions(race, planned, entry.form, fold.dataset).predicted)


def _drop_hopeless(race: Race, classes: np.ndarray, among: Sequence[Entry], *, rounds: int) -> None:
    """Drop those of `among` that are significantly worse than the best of all that are left."""
    live = race.live
    if len(live) < 2 or rounds == race.folds:
        return
    found, looks = selectable(live, rounds), race.folds - 1
    labels, choose_by = race.labels, race.choose_by
    groups = None if race.groups is None else race.groups[: len(classes)]
    worse = hopeless(found, classes, labels=labels, margin=race.margin, choose_by=choose_by, looks=looks, groups=groups)
    scores = scores_of(found, classes, labels=labels, choose_by=choose_by)
    for place in worse:
        if any(live[place] is entry for entry in among):
            live[place].behind = Behind(rounds, len(classes), float(scores[place]), float(scores.max()))
            live[place].drop("worse")
