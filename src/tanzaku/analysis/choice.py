"""Which arm the validation set chooses, and by what: the same for the report and for `tanzaku pack`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Arm
from tanzaku.analysis.classes import majorities_of
from tanzaku.analysis.recommendation import choose
from tanzaku.errors import RecordError
from tanzaku.measure.metrics import DEFAULT_CHOOSE_BY, ChooseBy
from tanzaku.study.record import RunRecord


@dataclass(frozen=True)
class ArmChoice:
    """What the validation set chose among some arms."""

    best: Arm
    recommended: Arm | None
    """None where no arm is better than always answering the most frequent class."""
    within: tuple[Arm, ...]
    """Within the margin of the best and better than that; the smallest of them is the recommended."""
    passed_over: tuple[Arm, ...]
    """Within the margin of the best, but not better than that."""
    considered: tuple[Arm, ...]


def choose_arm(arms: Sequence[Arm], *, choose_by: ChooseBy, margin: float) -> ArmChoice | None:
    """The best and the recommended arm; None where no run of any was measured.

    Args:
        arms: On the same documents.
        choose_by: What of the validation set they are chosen by.
        margin: How much worse than the best a recommended arm may be, a share.
    """
    candidates = [(arm, candidate) for arm in arms if (candidate := arm.candidate(choose_by))]
    majorities = majorities_of(arms)
    if majorities is None:
        return None
    majority = majorities.validation.value(choose_by)
    choice = choose([candidate for _, candidate in candidates], margin=margin, majority=majority)
    if choice is None:
        return None
    considered = tuple(arm for arm, _ in candidates)
    return ArmChoice(
        best=considered[choice.best],
        recommended=None if choice.recommended is None else considered[choice.recommended],
        within=tuple(considered[place] for place in choice.within_margin),
        passed_over=tuple(considered[place] for place in choice.passed_over),
        considered=considered,
    )


def what_chooses(records: Iterable[RunRecord], *, asked: ChooseBy | None) -> ChooseBy:
    """What the arms of a study are chosen by: what was asked for, or else what its study file said when the runs were
    made.

    Raises:
        RecordError: The runs were made under several settings.
    """
    if asked is not None:
        return asked
    found: set[ChooseBy] = {record.spec["choose_by"] for record in records}
    if len(found) > 1:
        raise RecordError(
            f"the runs were made with different values of choose_by ({', '.join(sorted(found))}); "
            "say which one counts with --choose-by accuracy or --choose-by macro_f1"
        )
    return found.pop() if found else DEFAULT_CHOOSE_BY
