"""From a study file to a study, and from a study to its runs, each fully resolved."""

from __future__ import annotations

import copy
import difflib
import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tanzaku.data.decoding import decode, is_text
from tanzaku.errors import DataError, SpecError
from tanzaku.methods import METHODS, EncoderMethod, TextMethod
from tanzaku.study.encoder_spec import ENCODER_SETTINGS, EncoderSpec
from tanzaku.study.recipes import RECIPE_NAMES, RECIPES, Recipe
from tanzaku.study.spec import (
    SEED_OF_DETERMINISTIC,
    EncoderRunSpec,
    RunSpec,
    StudySpec,
    TextRunSpec,
    TrainingSpec,
    method_named,
)

Model = TypeVar("Model", bound=BaseModel)
# Which of a field's kinds a complaint is about.
_TAG = re.compile(r"(constrained-|literal\[|function-|lax-or-strict|list\[|tuple\[|dict\[).*|float|int|str|bool|none")
_WITH_RATES = ", ".join(RECIPES["default"].methods)
_RATES = f'; set it, or recipe = "default" at the top, which has one for {_WITH_RATES}'


def read_study(path: str | Path, *, overrides: Sequence[str] = (), check_arms: bool = True) -> StudySpec:
    """Read a study file and apply `key=value` overrides, such as `encoder.name=my/encoder` or `arms.0.rank=[2,4]`.

    Args:
        path: The file.
        overrides: In the order in which they are applied.
        check_arms: Make sure that all runs can be made; a study that is tuned first may leave settings out.

    Raises:
        SpecError: The file is missing, is not TOML, or says something that a study can't.
    """
    return parse_study(read_content(path), overrides=overrides, check_arms=check_arms, where=str(path))


def read_content(path: str | Path) -> dict[str, Any]:
    """The keys of a study file, unchecked.

    Raises:
        SpecError: The file is missing or is not TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(decode(path.read_bytes(), name=str(path), can_choose=False))
    except OSError as error:
        raise SpecError(
            f"the study file {path} can't be read: {error.strerror}; give the path of a TOML file"
        ) from error
    except DataError as error:
        raise SpecError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not valid TOML: {error}") from error


def parse_study(
    content: Mapping[str, Any], *, overrides: Sequence[str] = (), check_arms: bool = True, where: str = "the study"
) -> StudySpec:
    """A study from a dictionary with the keys of a study file; it is not changed.

    Args:
        content: What `tomllib` makes of a study file, or the same written in Python.
        overrides: As of `read_study`.
        check_arms: As of `read_study`.
        where: Names the study in errors.

    Raises:
        SpecError: It says something that a study can't.
    """
    overridden = copy.deepcopy(dict(content))
    for override in overrides:
        _apply_override(overridden, override)
    study = _validated(StudySpec, overridden, where=where)
    _check_shared(study, where=where)
    if check_arms:
        try:
            expand(study)
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from error
    return study


def _check_shared(study: StudySpec, *, where: str) -> None:
    """Make sure that what the arms share has names that there are: else the first arm would be blamed for it."""
    for section, names, kind in (
        ("encoder", study.encoder or {}, EncoderSpec),
        ("training", study.training, TrainingSpec),
    ):
        if unknown := sorted(set(names) - set(kind.model_fields)):
            raise SpecError(f"{where}: {section}: {unknown_name('key', unknown[0], kind.model_fields)}")


def expand(study: StudySpec) -> list[RunSpec]:
    """All runs of a study: every seed, every arm, every combination of the arm's axes; those with the same result once.

    A deterministic method is run once, and that run counts for every seed.

    Raises:
        SpecError: An arm names an unknown method, option or value.
    """
    runs: dict[str, RunSpec] = {}
    for seed in study.seeds:
        for number, arm in enumerate(study.arms):
            for run in expand_arm(study, arm, seed=seed, where=f"arms.{number}"):
                runs.setdefault(run.model_dump_json(exclude={"training": {"checkpoint_minutes"}}), run)
    return list(runs.values())


def expand_arm(study: StudySpec, arm: Mapping[str, Any], *, seed: int, where: str) -> Iterator[RunSpec]:
    """The runs of one arm with one seed: every combination of its axes.

    Args:
        study: What the arms share.
        arm: Flat, as in the study file.
        seed: Of the runs; a deterministic method's have `SEED_OF_DETERMINISTIC` in its place.
        where: Names the arm in errors.

    Raises:
        SpecError: The arm names an unknown method, option or value.
    """
    name = _method_name(arm, where=where)
    kind = method_named(name, where=where)
    if shared := sorted(set(kind.model_fields) & {"method", "recipe", *TrainingSpec.model_fields, *ENCODER_SETTINGS}):
        raise SpecError(f"{where}: {name} has an option {shared[0]!r}, which every arm has; it needs another name")
    if issubclass(kind, EncoderMethod):
        yield from expand_encoder_arm(study, kind, arm, seed=seed, where=where)
    else:
        yield from _expand_text_arm(study, kind, arm, seed=seed, where=where)


def option_names(kind: type[EncoderMethod] | type[TextMethod]) -> set[str]:
    """What an arm of a method can set, apart from the method and the recipe."""
    if not issubclass(kind, EncoderMethod):
        return set(kind.model_fields)
    trainable = set(TrainingSpec.model_fields) - set(kind.settings_without_effect)
    return set(kind.model_fields) | trainable | set(ENCODER_SETTINGS)


def expand_encoder_arm(
    study: StudySpec, kind: type[EncoderMethod], arm: Mapping[str, Any], *, seed: int, where: str
) -> Iterator[EncoderRunSpec]:
    """The runs of one arm of a method that adapts an encoder; `kind` is its method, the rest as of `expand_arm`.

    Raises:
        SpecError: The arm names an unknown option or value, or the study has no encoder.
    """
    name, options = _name_and_options(arm)
    where = f"{where} ({name})"
    ignored = set(kind.settings_without_effect)
    if useless := sorted(set(options) & ignored):
        raise SpecError(f"{where}: {useless[0]} does nothing for this method; leave it out")
    training = {name: value for name, value in study.training.items() if name not in ignored}
    trainable, readable = set(TrainingSpec.model_fields) - ignored, set(ENCODER_SETTINGS)
    _check_options(options, option_names(kind), where=where)
    if study.encoder is None:
        raise SpecError(f"{where}: the method adapts an encoder, but the study has no [encoder]; give it a name")
    for recipe, values in _points(study, kind, name, options, where=where):
        method = _validated(kind, _chosen({**recipe, **values}, set(kind.model_fields)), where=where)
        # What these options leave without effect is at its default, so that it makes no other run of the same.
        unused = set(method.unused_settings())
        used = {name: value for name, value in training.items() if name not in unused}
        yield EncoderRunSpec(
            data=study.data,
            encoder=_resolved(EncoderSpec, recipe, study.encoder, values, readable, where=f"{where}: encoder"),
            method=method,
            training=_resolved(TrainingSpec, recipe, used, values, trainable - unused, where=f"{where}: training"),
            seed=SEED_OF_DETERMINISTIC if method.deterministic else seed,
            choose_by=study.choose_by,
        )


def _expand_text_arm(
    study: StudySpec, kind: type[TextMethod], arm: Mapping[str, Any], *, seed: int, where: str
) -> Iterator[TextRunSpec]:
    name, options = _name_and_options(arm)
    where = f"{where} ({name})"
    _check_options(options, option_names(kind), where=where)
    for recipe, values in _points(study, kind, name, options, where=where):
        method = _validated(kind, _chosen({**recipe, **values}, set(kind.model_fields)), where=where)
        own_seed = SEED_OF_DETERMINISTIC if method.deterministic else seed
        yield TextRunSpec(data=study.data, method=method, seed=own_seed, choose_by=study.choose_by)


def _method_name(arm: Mapping[str, Any], *, where: str) -> str:
    name = arm.get("method")
    if name is None:
        raise SpecError(f"{where}: method is missing; choose one of {', '.join(METHODS)}")
    if not isinstance(name, str):
        raise SpecError(f"{where}: method = {name!r} is not one method's name; write an arm for each method")
    return name


def _name_and_options(arm: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    return str(arm["method"]), {key: value for key, value in arm.items() if key != "method"}


def _check_options(options: Mapping[str, Any], known: set[str], *, where: str) -> None:
    if unknown := set(options) - known - {"recipe"}:
        raise SpecError(f"{where}: {unknown_name('option', sorted(unknown)[0], sorted(known))}")


def _points(
    study: StudySpec,
    kind: type[EncoderMethod] | type[TextMethod],
    name: str,
    options: dict[str, Any],
    *,
    where: str,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every combination of the arm's axes, each as what its recipe says and what it sets itself."""
    for values in _grid({"recipe": study.recipe, **options}, kind):
        recipe = _recipe(values.pop("recipe"), where=where)
        yield recipe.settings(name), values


def _recipe(name: Any, *, where: str) -> Recipe:
    if name not in RECIPE_NAMES:
        raise SpecError(f"{where}: there is no recipe {name!r}; choose one of {', '.join(RECIPE_NAMES)}")
    return RECIPES[name]


def _resolved(
    kind: type[Model],
    recipe: dict[str, Any],
    shared: dict[str, Any],
    values: dict[str, Any],
    names: set[str],
    *,
    where: str,
) -> Model:
    """What the recipe says of `names`, then what the arms share, then what this arm sets itself."""
    return _validated(kind, {**_chosen(recipe, names), **shared, **_chosen(values, names)}, where=where)


def _chosen(values: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in names}


def _grid(options: dict[str, Any], kind: type[EncoderMethod] | type[TextMethod]) -> Iterator[dict[str, Any]]:
    """Every combination of the axes."""
    axes = arm_axes(options, kind)
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def arm_axes(options: dict[str, Any], kind: type[EncoderMethod] | type[TextMethod]) -> dict[str, list[Any]]:
    """Each option's values: of a list the items, but of options that are lists themselves those of a list of lists.

    Raises:
        SpecError: A list is empty.
    """
    axes = {}
    for key, value in options.items():
        field = kind.model_fields.get(key)
        takes_list = field is not None and isinstance(field.default, tuple)
        is_axis = isinstance(value, list) and (not takes_list or any(isinstance(item, list) for item in value))
        if is_axis and not value:
            raise SpecError(f"arms: {key} is an empty list; give at least one value")
        axes[key] = value if is_axis else [value]
    return axes


def _validated(kind: type[Model], content: Any, *, where: str) -> Model:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{where}: {_explain(error, kind)}") from error


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """Every complaint, a line each, with the place, the value and the choices."""
    # That a default can't follow from a wrong value says nothing more than that this is wrong.
    said = [one for one in error.errors() if one["type"] != "default_factory_not_called"]
    places = dict.fromkeys(map(_place_of, said))
    # That a list is too short without its wrong items says nothing more than that these are wrong.
    deepest = [place for place in places if not any(other[: len(place)] == place != other for other in places)]
    return "\n".join(_complaint(error, kind, where) for where in deepest)


def _complaint(error: ValidationError, kind: type[BaseModel], where: tuple[str, ...]) -> str:
    """What is wrong at one place."""
    first = next(one for one in error.errors() if _place_of(one) == where)
    place = ".".join(where)
    if first["type"] == "extra_forbidden":
        return unknown_name("key", place, _model_at(kind, first["loc"][:-1]).model_fields)
    if first["type"] == "missing":
        return f"{place} is missing{_RATES if place == 'learning_rate' else ''}"
    # A field of several kinds has a complaint for each of them.
    messages = [one["msg"].removeprefix("Value error, ") for one in error.errors() if _place_of(one) == where]
    said = " or ".join(dict.fromkeys(messages))
    return f"{place} = {first['input']!r}: {said}" if place else said


def unknown_name(what: str, name: str, choices: Iterable[str]) -> str:
    """What to say of a name that is none of the choices; `name` may be a place, of which the last part is unknown."""
    known = list(choices)
    meant = difflib.get_close_matches(name.rpartition(".")[2], known, n=1)
    hint = f"did you mean {meant[0]!r}? " if meant else ""
    return f"unknown {what} {name!r}; {hint}it takes {', '.join(known) or 'no options'}"


def _place_of(error: Mapping[str, Any]) -> tuple[str, ...]:
    """The place without the kinds of value that pydantic puts into it, such as `literal['rank']`."""
    place = [str(part) for part in error["loc"]]
    last = place[-1:] if error["type"] == "extra_forbidden" else []  # a key of the user's, whatever it is
    return (*(part for part in place[: len(place) - len(last)] if not _TAG.fullmatch(part)), *last)


def _model_at(kind: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel]:
    """The model that stands at `place` inside `kind`."""
    for part in place:
        annotation = kind.model_fields[str(part)].annotation
        kinds = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
        kind = next(one for one in kinds if issubclass(one, BaseModel))
    return kind


def _apply_override(content: dict[str, Any], override: str) -> None:
    if not is_text(override):
        raise SpecError(f"--set {override!a}: is not valid UTF-8; give it in a terminal whose encoding is UTF-8")
    key, equals, text = override.replace("\ufeff", "").partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise SpecError(f"--set {override}: give key=value, such as encoder.name=my/encoder or training.epochs=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    except (ValueError, RecursionError) as error:  # thousands of digits or brackets
        raise SpecError(f"--set {override[:60]}…: the value can't be read ({error}); give a shorter one") from error
    place: Any = content
    for part in parts[:-1]:
        place = _step_into(place, part, override)
    if isinstance(place, list):
        place[_list_index(place, parts[-1], override)] = value
    else:
        place[parts[-1]] = value


def _step_into(place: Any, part: str, override: str) -> Any:
    inner = place[_list_index(place, part, override)] if isinstance(place, list) else place.setdefault(part, {})
    if not isinstance(inner, dict | list):
        raise SpecError(f"--set {override}: {part} is {inner!r}, which holds no further keys")
    return inner


def _list_index(place: list[Any], part: str, override: str) -> int:
    if not part.isdecimal() or len(part) > len(str(len(place))) or int(part) >= len(place):
        raise SpecError(f"--set {override}: {part!r} is not a place in the list; it takes 0 to {len(place) - 1}")
    return int(part)
