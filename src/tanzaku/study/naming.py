"""What the arms of a study are called: by their method, and by the settings in which the method's arms differ.

Tables, the page, figures, the terminal and the runs' folders all take their names from here, in one of three forms:

- full, for the row of a table: all settings in which the method's arms differ, such as
  `LoRA r=8, DoRA, lr 5e-4, 5 epochs`, or only as many as it takes to distinguish the arms if they differ in many;
- short, for a legend: always only as many as it takes, such as `LoRA r=8, lr 5e-4`;
- for a folder: those of the full form in a few characters each, such as `lora-r8-dora-lr5e-4-e5`.

A setting that all arms of a method share is in no name, so the only arm of a method is called by its method.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PureWindowsPath
from typing import Any

from tanzaku.display import number
from tanzaku.methods import METHODS, OptionLabel, Title
from tanzaku.pretraining.options import describe_budget, describe_options
from tanzaku.study.spec import SCHEDULE_OF, RunSpec, TrainingSpec, describe_distillation
from tanzaku.words import ENGLISH, Words, message, messages

Settings = Mapping[str, Any]
"""Of an arm, flat: `method.name`, `method.rank`, `training.epochs`, `encoder.max_tokens`."""

_METHOD, _RANK, _PRETRAINING, DISTILLATION = "method.name", "method.rank", "encoder.pretrain", "training.distill"
# They change where an encoder is found and how often a run is saved, not what is trained.
_WITHOUT_EFFECT = {"encoder.name", "encoder.revision", "training.checkpoint_minutes"}

# The order in a name; a method's other options come in their own order after the ranks, other settings at the end.
_FIRST = (_RANK, "method.ranks")
_NEXT = (
    "training.learning_rate",
    "training.epochs",
    "encoder.pooling",
    "encoder.long_text",
    "encoder.max_windows",
    "encoder.max_tokens",
    _PRETRAINING,
)

# What distinguishes arms first, where a name says only as much as it takes.
_DISTINCTIVE = (*_FIRST, "training.learning_rate", "training.epochs")
_MOST_SETTINGS = 4  # in a full name that says them all

# With these values a setting does nothing, as a switch that is off: they go without saying.
_OFF: dict[str, Any] = {"method.initialization": "random", "method.lora_plus_ratio": 1.0}


# Of a setting; one that is not here has its own name and value, and a switch only its name. A method's options have the
# labels that the method gives them.
_PHRASES: dict[str, str] = {
    "training.learning_rate": message("lr {value}"),
    "training.head_learning_rate": message("head lr {value}"),
    "training.embeddings_learning_rate": message("embeddings lr {value}"),
    "training.schedule": "{value}",
    "training.warmup": message("warm-up {value}"),
    "training.plateau_factor": message("reduced to {value} times"),
    "training.fast": message("fast path"),
    "training.precision": "{value}",
    "encoder.pooling": "{value}",
    "encoder.long_text": "{value}",
    _PRETRAINING: message("pretrained {value}"),
    DISTILLATION: message("distilled from {value}"),
}
_COUNTS: dict[str, tuple[str, str]] = {
    "training.epochs": messages("{n} epoch", "{n} epochs"),
    "training.plateau_patience": messages("after more than {n} epoch", "after more than {n} epochs"),
    "encoder.max_tokens": messages("{n} token", "{n} tokens"),
    "encoder.max_windows": messages("at most {n} window", "at most {n} windows"),
}

# What readers call a setting whose name in study files is no phrase.
_READABLE = {
    "alpha": "α",
    "best_by": message("best epoch by"),
    "dora": "DoRA",
    "eval_batch_size": message("evaluation batch size"),
    "fast": message("fast path"),
    "log_steps": message("steps between logged losses"),
    "longest_ngram": message("longest n-gram"),
    "lora_plus_ratio": message("LoRA+ ratio"),
    "max_grad_norm": message("maximum gradient norm"),
    "rslora": "rsLoRA",
    "warmup": message("warm-up"),
}

# Of a setting in the name of a folder; one that is not here has its own name before its value.
_FOLDER = {
    _RANK: "r{}",
    "method.ranks": "r{}",
    "method.bits": "{}bits",
    "method.rank_pattern": "pattern",
    "training.learning_rate": "lr{}",
    "training.head_learning_rate": "headlr{}",
    "training.embeddings_learning_rate": "embedlr{}",
    "training.epochs": "e{}",
    "training.schedule": "{}",
    "training.precision": "{}",
    "method.initialization": "{}",
    "method.targets": "{}",
    "encoder.pooling": "{}",
    "encoder.long_text": "{}",
    "encoder.max_tokens": "t{}",
    "encoder.max_windows": "w{}",
    _PRETRAINING: "pretrained-{}",
    DISTILLATION: "distilled-{}",
}
_FOLDER_CHARACTERS = 50  # before the seed and the identity, so that a line of 80 holds the whole name
_NAME_DIGITS = (3, 6, 17)  # of a number: the fewest that distinguish the arms


@dataclass(frozen=True)
class Name:
    """What an arm is called, in its parts."""

    method: str
    rank: str
    """Such as `r=8`; empty where the method's arms do not differ in it."""
    options: tuple[str, ...]
    """Of the method."""
    others: tuple[str, ...]
    """How it is trained and how documents are read."""

    def __str__(self) -> str:
        return ", ".join([self.with_rank, *self.details])

    @property
    def with_rank(self) -> str:
        """The method with its rank, such as `LoRA r=8`."""
        return f"{self.method} {self.rank}" if self.rank else self.method

    @property
    def with_options(self) -> str:
        """The method with its rank and options, such as `LoRA r=8, DoRA`."""
        return ", ".join([self.with_rank, *self.options])

    @property
    def details(self) -> tuple[str, ...]:
        """What follows the method and the rank, such as `("DoRA", "lr 5e-4")`."""
        return (*self.options, *self.others)


class Namer:
    """Names arms that are shown together.

    Args:
        arms: The settings of each.
    """

    def __init__(self, arms: Iterable[Settings]) -> None:
        self._arms: dict[str, list[Settings]] = {}
        for arm in arms:
            self._arms.setdefault(arm[_METHOD], []).append(arm)
        self._full: dict[str, tuple[str, ...]] = {}
        self._short: dict[str, tuple[str, ...]] = {}
        self._texts: dict[tuple[str, Sequence[str], str], dict[tuple[str, str], str]] = {}
        for method, among in self._arms.items():
            differing = _differing(among)
            self._short[method] = _sufficient(among, differing)
            self._full[method] = differing if len(differing) <= _MOST_SETTINGS else self._short[method]

    def full(self, arm: Settings, *, words: Words = ENGLISH) -> Name:
        """The name with all settings in which the arms of its method differ, where these are not too many."""
        method = arm[_METHOD]
        return self._name(arm, self._full.get(method, ()), _title(method).text(words.language), words)

    def short(self, arm: Settings, *, words: Words = ENGLISH) -> Name:
        """The name with no more settings than it takes to distinguish the arms."""
        method = arm[_METHOD]
        title = _title(method)
        short = title.short if title.short and words.language == "en" else title.text(words.language)
        return self._name(arm, self._short.get(method, ()), short, words)

    def folder(self, arm: Settings) -> str:
        """The name in lower-case characters that every file system takes, such as `lora-r8-lr5e-4`.

        Arms may share it where it would be long: what follows it, the run's identity, distinguishes them.
        """
        method = arm[_METHOD]
        for keys in (self._full.get(method, ()), self._short.get(method, ())):
            parts = [method, *(part for key in keys if (part := _folder_part(key, _value(arm, key))))]
            if len("-".join(parts)) <= _FOLDER_CHARACTERS:
                break
        return "-".join(parts)[:_FOLDER_CHARACTERS].rstrip("-.+")

    def _name(self, arm: Settings, keys: Sequence[str], method: str, words: Words) -> Name:
        known = (arm[_METHOD], keys, words.language)
        if known not in self._texts:
            self._texts[known] = _texts(self._arms.get(arm[_METHOD], [arm]), keys, words)
        texts = self._texts[known]
        shown = [(key, texts[key, _canonical(_value(arm, key))]) for key in keys]
        said = [(key, text) for key, text in shown if text]
        return Name(
            method=method,
            rank=next((text for key, text in said if key == _RANK), ""),
            options=tuple(text for key, text in said if key.startswith("method.") and key != _RANK),
            others=tuple(text for key, text in said if not key.startswith("method.")),
        )


def flat_settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The flat settings that distinguish arms: all of a run's specification but the seed, the data and what has no
    effect.

    Args:
        spec: As JSON, which is how records have it.
    """
    flat = {
        f"{part}.{key}": value
        for part in ("method", "encoder", "training")
        for key, value in (spec.get(part) or {}).items()
    }
    for key in (_PRETRAINING, DISTILLATION):
        if flat.get(key):
            flat[key] = _canonical(flat[key])
    kind = METHODS.get(flat[_METHOD])
    measuring = {f"method.{option}" for option in kind.measuring_options} if kind else set()
    return {key: value for key, value in flat.items() if key not in _WITHOUT_EFFECT | measuring}


def shorten(settings: Sequence[dict[str, Any]]) -> None:
    """Name each pretraining and each distillation in few words, or in full where they would read alike.

    A pretraining is named by its budget, such as "8 epochs", or by all its options; a teacher and its texts by the
    names of their files, or by their paths.
    """
    _shorten(settings, _PRETRAINING, describe_budget, describe_options)
    _shorten(settings, DISTILLATION, describe_distillation, partial(describe_distillation, paths=True))


def without_folders_of(distillation: str) -> str:
    """A distillation in JSON with only the last parts of the paths of its files."""
    content = json.loads(distillation)
    paths = {name: PureWindowsPath(content[name]).name for name in ("teacher", "texts") if content.get(name)}
    return _canonical(content | paths)


def _shorten(settings: Sequence[dict[str, Any]], key: str, *descriptions: Callable[[Mapping[str, Any]], str]) -> None:
    contents = {one[key]: json.loads(one[key]) for one in settings if one.get(key)}
    for describe in descriptions:
        names = {text: describe(content) for text, content in contents.items()}
        if len(set(names.values())) == len(names):
            break
    for one in settings:
        if one.get(key):
            one[key] = names[one[key]]


def arms_of_runs(runs: Iterable[RunSpec]) -> list[dict[str, Any]]:
    """The flat settings of each run, to be named together."""
    settings = [flat_settings(run.model_dump(mode="json")) for run in runs]
    shorten(settings)
    return settings


def _title(method: str) -> Title:
    kind = METHODS.get(method)  # None for a method that is not installed here
    return kind.title if kind else Title(method)


def own_name(key: str) -> str:
    """What readers call a setting, in English: `batch size` for `training.batch_size`."""
    name = key.rpartition(".")[2]
    return _READABLE.get(name, name.replace("_", " "))


def option_label(method: str, option: str) -> OptionLabel | None:
    """What the method calls an option; None where it has no label for it."""
    kind = METHODS.get(method)
    label = kind.option_label(option) if kind and option in kind.model_fields else None
    return None if label == OptionLabel.of(option) else label


def _differing(arms: Sequence[Settings]) -> tuple[str, ...]:
    """The settings in which arms differ, in the order in which names have them."""
    known = {key for arm in arms for key in arm} - {_METHOD, *_FIRST, *_NEXT}
    kind = METHODS.get(arms[0][_METHOD])  # None for a method that is not installed here
    declared = [f"method.{name}" for name in kind.model_fields] if kind else []
    declared += [f"training.{name}" for name in TrainingSpec.model_fields]
    others = sorted(known, key=lambda key: (declared.index(key) if key in declared else len(declared), key))
    options = [key for key in others if key.startswith("method.")]
    ordered = (*_FIRST, *options, *_NEXT, *(key for key in others if key not in options))
    return tuple(key for key in ordered if len({_canonical(_value(arm, key)) for arm in arms}) > 1)


def _sufficient(arms: Sequence[Settings], keys: Sequence[str]) -> tuple[str, ...]:
    """Of the settings in which arms differ as many as it takes: each distinguishes arms that the former ones do not."""
    chosen: set[str] = set()
    known: list[tuple[str, ...]] = [() for _ in arms]
    for key in sorted(keys, key=lambda key: _DISTINCTIVE.index(key) if key in _DISTINCTIVE else len(_DISTINCTIVE)):
        finer = [(*before, _canonical(_value(arm, key))) for before, arm in zip(known, arms, strict=True)]
        if len(set(finer)) > len(set(known)):
            chosen.add(key)
            known = finer
    return tuple(key for key in keys if key in chosen)


def _value(arm: Settings, key: str) -> Any:
    """A setting; None where the arm lacks it, or where its schedule has no use for it."""
    part, _, name = key.partition(".")
    if part == "training" and name in SCHEDULE_OF and arm.get("training.schedule") != SCHEDULE_OF[name]:
        return None
    return arm.get(key)


def _texts(arms: Sequence[Settings], keys: Sequence[str], words: Words) -> dict[tuple[str, str], str]:
    """How names say the values of these settings, by setting and value; "" for what goes without saying.

    No two of them are alike: values whose texts would be are written in full.
    """
    values = {key: {_canonical(value): value for arm in arms for value in (_value(arm, key),)} for key in keys}
    texts: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for key, of_key in values.items():
        written = next(
            (found for found in _candidates(arms[0][_METHOD], key, of_key, words) if _are_new(found, taken)), None
        )
        if written is None:
            written = {one: f"{own_name(key)} {one}" for one in of_key}
        texts |= {(key, one): text for one, text in written.items()}
        taken |= {text for text in written.values() if text}
    return texts


def _candidates(method: str, key: str, values: Mapping[str, Any], words: Words) -> Iterable[dict[str, str]]:
    for digits in _NAME_DIGITS:
        yield {one: _phrase(method, key, value, digits, words) for one, value in values.items()}


def _are_new(texts: Mapping[str, str], taken: set[str]) -> bool:
    return len(set(texts.values())) == len(texts) and not taken.intersection(texts.values())


def _phrase(method: str, key: str, value: Any, digits: int, words: Words) -> str:
    """A setting as names say it; "" where it is off."""
    if _is_off(key, value):
        return ""
    if key == _RANK:
        return f"r={value}"
    if key in _COUNTS:
        return words.plural(*_COUNTS[key], value)
    text = _written(value, digits)
    if key.startswith("method.") and (label := option_label(method, key.removeprefix("method."))):
        text = label.values.get(text, text)
        return label.text(words.language).format(value=text)
    if key in _PHRASES:
        return words.text(_PHRASES[key], value=text)
    name = words.text(own_name(key))
    return name if value is True else f"{name} {text}"


def _is_off(key: str, value: Any) -> bool:
    return value is None or value is False or value in ({}, []) or (key in _OFF and value == _OFF[key])


def _written(value: Any, digits: int) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return number(value, digits=digits)
    if isinstance(value, list | tuple):
        # A comma would look like the end of the setting.
        return "+".join(_written(item, digits) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key}: {_written(item, digits)}" for key, item in value.items())
    return str(value)


def _folder_part(key: str, value: Any) -> str:
    if _is_off(key, value):
        return ""
    name = key.partition(".")[2].replace("_", "")
    if isinstance(value, bool):
        text = name
    elif isinstance(value, int | float):
        text = _FOLDER.get(key, f"{name}{{}}").format(number(value, digits=_NAME_DIGITS[0]))
    elif isinstance(value, list | tuple):
        text = _FOLDER.get(key, f"{name}-{{}}").format("+".join(map(str, value)))
    else:
        text = _FOLDER.get(key, f"{name}-{{}}").format(value)
    return re.sub(r"[^a-z0-9.+-]+", "-", text.lower()).strip("-")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
