"""The search space: which settings of an arm are searched, among which values, and a point of it as a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tanzaku.errors import SpecError
from tanzaku.methods import EncoderMethod
from tanzaku.study.encoder_spec import ENCODER_SETTINGS
from tanzaku.study.expansion import arm_axes, expand_encoder_arm
from tanzaku.study.spec import EncoderRunSpec, StudySpec, TrainingSpec, method_named
from tanzaku.study.tune_settings import Range, TuneSpec

Choices = tuple[Any, ...]

# What is searched without a `[tune.space]`, so far as the method has it and the study does not say it.
DEFAULT_SPACE: dict[str, Choices | Range] = {
    "learning_rate": Range(low=1e-5, high=1e-2, log=True),
    "schedule": ("linear", "cosine", "constant"),
    "warmup": (0.0, 0.1),
    "rank": (4, 8, 16, 32, 64),
    "alpha": ("rank", 16, 32),
    "targets": (["qv"], ["all-linear"]),
}


@dataclass(frozen=True)
class SearchSpace:
    """The arm that is tuned, and what is searched.

    Args:
        study: What the trials share.
        method: The arm's.
        where: Names the arm in errors.
        fixed: The arm's settings that are not searched, flat, its method too.
        searched: Values or a range, by the setting's name.
    """

    study: StudySpec
    method: type[EncoderMethod]
    where: str
    fixed: Mapping[str, Any]
    searched: Mapping[str, Choices | Range]

    def run(self, point: Mapping[str, Any], *, seed: int) -> EncoderRunSpec:
        """The run with these values of the searched settings.

        Raises:
            SpecError: A value is none that the setting can have.
        """
        arm = {**self.fixed, **point}
        (run,) = expand_encoder_arm(self.study, self.method, arm, seed=seed, where=self.where)
        return run

    def corners(self, *, seed: int) -> list[EncoderRunSpec]:
        """Runs that have every choice, and of every range both ends and a number between them, once: what is wrong with
        the space is wrong here.

        Raises:
            SpecError: As `run`.
        """
        ends = {
            name: (values.low, values.high, *values.between) if isinstance(values, Range) else values
            for name, values in self.searched.items()
        }
        first = {name: values[0] for name, values in ends.items()}
        points = [first, *({**first, name: value} for name, values in ends.items() for value in values[1:])]
        return [self.run(point, seed=seed) for point in points]

    def description(self) -> dict[str, Any]:
        """The searched settings as JSON."""
        return {
            name: values.model_dump() if isinstance(values, Range) else json.loads(json.dumps(values))
            for name, values in self.searched.items()
        }


def search_space(study: StudySpec) -> SearchSpace:
    """The space of a study's `[tune]`, or the default one.

    Raises:
        SpecError: The study has no arm to tune, the space names what the arm's method does not have, or nothing is left
            to search.
    """
    tune = study.tune or TuneSpec()
    number = _arm_number(study, tune)
    arm = dict(study.arms[number])
    kind = method_named(str(arm.get("method", "")), where=f"arms.{number}")
    if not issubclass(kind, EncoderMethod):
        raise SpecError(f"tune: arm = {number}: {arm['method']} adapts no encoder; choose an arm that does")
    axes = arm_axes(arm, kind)
    known = {*kind.model_fields, *TrainingSpec.model_fields, *ENCODER_SETTINGS, "recipe"} - {
        *kind.settings_without_effect
    }
    if tune.space is None:
        said = {*arm, *study.training, *(study.encoder or {})}
        space = {name: values for name, values in DEFAULT_SPACE.items() if name in known - said}
    else:
        space = dict(tune.space)
    if unknown := sorted(set(space) - known):
        raise SpecError(f"tune.space: {arm['method']} has no setting {unknown[0]!r}; it has {', '.join(sorted(known))}")
    _check_values({f"arms.{number}.{name}": (name, values) for name, values in axes.items()}, kind)
    _check_values({f"tune.space.{name}": (name, among) for name, among in space.items()}, kind)
    searched = {name: tuple(values) for name, values in axes.items() if len(values) > 1} | space
    if not searched:
        raise SpecError(f"tune: arms.{number} ({arm['method']}) has nothing to search; name it in [tune.space]")
    if after := sorted(set(searched) & {*kind.options_after_training}):
        raise SpecError(
            f"tune: {after[0]} changes nothing in the training, by which trials are judged; give the arm one value"
        )
    fixed = {name: values[0] for name, values in axes.items() if name not in searched}
    return SearchSpace(study, kind, f"tune of arms.{number}", fixed, searched)


def _check_values(among: Mapping[str, tuple[str, Sequence[Any] | Range]], kind: type[EncoderMethod]) -> None:
    """Make sure that each value of a setting is one: of a list inside the list `arm_axes` would make an axis again."""
    for where, (name, values) in among.items():
        for value in () if isinstance(values, Range) else values:
            if isinstance(value, list) and arm_axes({name: value}, kind)[name] != [value]:
                raise SpecError(f"{where}: {value!r} is a list where one value belongs; write its values side by side")


def _arm_number(study: StudySpec, tune: TuneSpec) -> int:
    if tune.arm is not None:
        if tune.arm >= len(study.arms):
            raise SpecError(f"tune: arm = {tune.arm}: the study has the arms 0 to {len(study.arms) - 1}")
        return tune.arm
    for number, arm in enumerate(study.arms):
        if issubclass(method_named(str(arm.get("method", "")), where=f"arms.{number}"), EncoderMethod):
            return number
    raise SpecError("tune: no arm of the study adapts an encoder, so there is nothing to tune; add one")
