"""docs/findings.md, made from the records of whole studies and the template next to this file.

    python -m benchmarks.findings

The template names arms and states conclusions. Every figure, with its interval and p-value, is computed here, and a
conclusion that the records contradict is an error.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.record import COSTS, RECORDS, read_alone
from tanzaku.analysis.arms import Arm, Estimate, estimate, sections_of, settings_of
from tanzaku.analysis.paired import share_trainings
from tanzaku.analysis.predictions import RunKey, RunPredictions, predictions_of, run_key
from tanzaku.analysis.run_scores import accuracy_scores
from tanzaku.analysis.statistics import (
    Difference,
    Outcome,
    accuracy_interval_over_both,
    compare_accuracies,
    holm,
    outcome_of,
)
from tanzaku.encoders.load import resolve_encoder
from tanzaku.encoders.source import EMBEDDED_NAME
from tanzaku.errors import RecordError
from tanzaku.files import write_atomically
from tanzaku.report import formats
from tanzaku.study.archive import ARCHIVED_STUDY_FILE
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.recipes import RECIPES
from tanzaku.study.record import FinishedEncoderRun
from tanzaku.study.runs import stored_runs
from tanzaku.words import words_of

ROOT = Path(__file__).parents[1]
BENCHMARKS = RECORDS.name
PAGE = ROOT / "docs" / "findings.md"
TEMPLATE = Path(__file__).with_name("findings.md.jinja")
_PARTS = ("method", "training", "encoder", "data")
TASKS = ("asdc-dialog-act", "chabsa-polarity", "ews-sentiment", "industry33", "medweb-ja")
"""The names of the studies that studies/short-texts.toml makes."""
SHIPS = "livedoor"
"""The name of the study of what ships."""
_SHIPS: dict[str, tuple[str, dict[str, Any]]] = {
    "TF-IDF of words, C = 5": ("tfidf-svm", {"max_terms": None, "penalty": 5.0}),
    "TF-IDF of words, C = 5, the 8,192 most frequent terms": ("tfidf-svm", {"max_terms": 8192}),
    "head only": ("head", {}),
    "LoRA": ("lora", {}),
    "`lora+tfidf`": ("lora+tfidf", {}),
    "full fine-tuning": ("full", {}),
}
_BLANK_LINES = re.compile(r"\n{2,}")


@dataclass
class Findings:
    """Arms of committed studies, and what is said of them."""

    records: Path
    """The folder that has a folder of runs a study."""
    _studies: dict[str, tuple[list[Arm], dict[RunKey, RunPredictions]]] = field(default_factory=dict)

    def arm(self, study: str, method: str, **settings: Any) -> Found:
        """The one arm of a study with these settings; see `settings_of` for their names, without the part before.

        `source` is the folder of the data, where a study was made on several.

        Raises:
            RecordError: None has them, or several have.
        """
        arms, _ = self._study(study)
        found = [arm for arm in arms if arm.method == method and _has(arm, settings)]
        if len(found) != 1:
            wanted = ", ".join(f"{name} = {value!r}" for name, value in settings.items())
            sources = {_source(arm) for arm in found or arms}
            of_data = (f" on {_source(arm)}" if len(sources) > 1 else "" for arm in found or arms)
            names = "; ".join(arm.name + told for arm, told in zip(found or arms, of_data, strict=True))
            raise RecordError(
                f"{self.records / study} has {len(found)} arms {method} with {wanted or 'any settings'}; "
                f"it must be one of: {names}"
            )
        return self._found(study, found[0])

    def _found(self, study: str, arm: Arm) -> Found:
        _, predictions = self._study(study)
        runs = [predictions[run_key(record)] for record in arm.finished]
        correct = np.stack([run.predicted == run.classes for run in runs])
        return Found(study, arm, runs[0].classes, correct, groups=runs[0].groups)

    def at_rank(self, found: Found, rank: int) -> Found:
        """An arm whose trained adapters were measured at other ranks too, at one of those.

        Raises:
            RecordError: They were not measured at it.
        """
        _, predictions = self._study(found.study)
        runs = [predictions[run_key(record)] for record in found.arm.finished]
        if not all(rank in run.at_ranks for run in runs):
            raise RecordError(f"{found.name} was not measured at the rank {rank}")
        return replace(found, correct=np.stack([run.at_ranks[rank] == run.classes for run in runs]), rank=rank)

    def table(self, pairs: Sequence[tuple[str, Found, Found]]) -> list[tuple[str, Compared]]:
        """Named pairs of arms, each on the same test documents, whose text may differ. Holm's correction is over them.

        Raises:
            RecordError: The documents' classes of a pair differ.
        """
        differences = [_difference(arm, other) for _, arm, other in pairs]
        corrected = holm([difference.p_value for difference in differences])
        found = (Compared(difference, p) for difference, p in zip(differences, corrected, strict=True))
        return [(name, compared) for (name, _, _), compared in zip(pairs, found, strict=True)]

    def tasks(self) -> list[Task]:
        """The tasks of short texts on which TF-IDF and LoRA have all their runs."""
        found = (self._task(name) for name in TASKS if (self.records / name).is_dir())
        return [task for task in found if task is not None]

    def ships(self) -> Ships | None:
        """What there is of the study of what ships."""
        if not (self.records / SHIPS).is_dir():
            return None
        arms, _ = self._study(SHIPS)
        made = {
            name: self._found(SHIPS, arm)
            for name, (method, settings) in _SHIPS.items()
            for arm in arms
            if arm.method == method and _has(arm, settings)
        }
        planned = len(expand(read_study(self.records / SHIPS / ARCHIVED_STUDY_FILE)))
        return Ships(made, planned=planned, missing=planned - len(stored_runs(self.records / SHIPS)))

    def included(self, *studies: str) -> bool:
        """Whether all runs of the studies that adapt an encoder adapt the one that is included now."""
        now = resolve_encoder(EMBEDDED_NAME).fingerprint
        runs = (run for study in studies for arm in self._study(study)[0] for run in arm.finished)
        return all(run.encoder.fingerprint == now for run in runs if isinstance(run, FinishedEncoderRun))

    def costs(self) -> dict[str, Any] | None:
        """The record of `benchmarks.costs`, if there is one."""
        return read_alone(self.records / BENCHMARKS / COSTS.name)

    def _task(self, study: str) -> Task | None:
        arms, _ = self._study(study)
        seeds = len(read_study(self.records / study / ARCHIVED_STUDY_FILE).seeds)
        made = {
            method: [self._found(study, arm) for arm in arms if arm.method == method and len(arm.finished) == count]
            for method, count in (("tfidf-svm", 1), ("head", seeds), ("lora", seeds), ("full", seeds))
        }
        if not made["tfidf-svm"] or not made["lora"]:
            return None
        words = max(made["tfidf-svm"], key=lambda found: found.validation_accuracy)
        head, full = (next(iter(made[method]), None) for method in ("head", "full"))
        return Task(study, words, made["lora"][0], head, full)

    def write(self, template: Path) -> str:
        """The page's text."""
        environment = Environment(
            loader=FileSystemLoader(template.parent),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # it is Markdown
        )
        text = environment.get_template(template.name).render(
            tasks=self.tasks(),
            ships=self.ships(),
            costs=self.costs(),
            recipes=RECIPES,
            seconds=formats.seconds,
            milliseconds=formats.milliseconds,
            outcomes=outcomes,
            included=self.included,
            arm=self.arm,
            at_rank=self.at_rank,
            table=self.table,
            expect=expect,
            claim=claim,
        )
        return "\n\n".join(_filled(block) for block in _BLANK_LINES.split(text.strip("\n"))) + "\n"

    def _study(self, name: str) -> tuple[list[Arm], dict[RunKey, RunPredictions]]:
        if name not in self._studies:
            stored = stored_runs(self.records / name)
            sections = sections_of([run.record for run in stored])
            finished = [arm for section in sections for arm in section.arms if arm.finished]
            # The TF-IDF baseline stands in every section of its data.
            arms = {tuple(run_key(record) for record in arm.finished): arm for arm in finished}
            self._studies[name] = list(arms.values()), predictions_of(stored)
        return self._studies[name]


@dataclass(frozen=True)
class Found:
    """One arm with its test predictions."""

    study: str
    arm: Arm
    classes: np.ndarray
    """(documents,)"""
    correct: np.ndarray
    """(runs, documents) bool"""
    groups: np.ndarray | None = None
    """(documents,): the number of each document's group; None where all documents are independent."""
    rank: int | None = None
    """To which its trained adapters were cut; None as they were trained."""

    @property
    def name(self) -> str:
        """As in the study's report."""
        return self.arm.name

    @property
    def accuracy(self) -> str:
        """Of the test set in percent, with its interval over seeds and documents: `87.6 (86.9–88.4)`."""
        scores = accuracy_scores(self.correct, self.groups)
        interval = accuracy_interval_over_both(scores, range(len(self.correct)))
        return f"{100 * self.mean:.1f} ({100 * interval.low:.1f}–{100 * interval.high:.1f})"

    @property
    def by_seed(self) -> np.ndarray:
        """The test accuracy of each run: (runs,)."""
        accuracies: np.ndarray = self.correct.mean(axis=1)
        return accuracies

    @property
    def mean(self) -> float:
        """The mean test accuracy of the runs."""
        return float(self.correct.mean())

    @property
    def knows_one_class(self) -> bool:
        """Whether every run takes the documents of the most frequent class right, and no other ones."""
        return bool((self.correct == (self.classes == np.bincount(self.classes).argmax())).all())

    @property
    def validation_accuracy(self) -> float:
        """The mean over the runs.

        Raises:
            RecordError: No run has one.
        """
        if self.arm.val_accuracy is None:
            raise RecordError(f"{self.name} has no validation accuracy")
        return self.arm.val_accuracy.mean

    @property
    def validation(self) -> str:
        """The mean accuracy of the validation set in percent."""
        return _told(self.arm.val_accuracy, formats.percent)

    @property
    def spread(self) -> str:
        """The lowest and the highest accuracy of a seed, in percent: `86.1–88.0`; a dash where all are equal."""
        if self.arm.deterministic:
            return "–"
        accuracies = 100 * self.correct.mean(axis=1)
        return f"{accuracies.min():.1f}–{accuracies.max():.1f}"

    def less_by_seed(self, other: Found) -> str:
        """Accuracy less another's with the same seeds, in points, the lowest and the highest: `−1.20 to +0.30`.

        Raises:
            RecordError: The seeds differ.
        """
        difference = self._differences(other)
        return f"{formats.points(difference.min())} to {formats.points(difference.max())}"

    def _differences(self, other: Found) -> np.ndarray:
        if self.seed_numbers != other.seed_numbers:
            raise RecordError(f"the seeds of {self.name} and {other.name} are not the same")
        differences: np.ndarray = self.by_seed - other.by_seed
        return differences

    def largest_loss(self, other: Found) -> str:
        """By how many points the accuracy is below another's with the same seeds, in the worst seed: `0.5`.

        Raises:
            RecordError: The seeds differ.
        """
        return f"{-100 * self._differences(other).min():.1f}"

    @property
    def saved_bytes(self) -> float:
        """The mean size of what is saved, at its rank.

        Raises:
            RecordError: No run has one.
        """
        size = self._size()
        if size is None:
            raise RecordError(f"{self.name} has no size")
        return size.mean

    @property
    def megabytes(self) -> str:
        """The size of what is saved, at its rank."""
        return _told(self._size(), lambda size: formats.megabytes(size / 1e6))

    def _size(self) -> Estimate | None:
        if self.rank is None:
            return self.arm.cost("saved_bytes")
        at_ranks = (one for record in self.arm.finished for one in record.ranks if one.rank == self.rank)
        return estimate(one.saved_bytes for one in at_ranks)

    @property
    def seconds(self) -> str:
        """Of training, without evaluation."""
        return _told(self.arm.cost("train_seconds"), formats.seconds)

    @property
    def seeds(self) -> str:
        """How many runs it has, one a seed; where one counts for every seed, "all"."""
        return "all" if self.arm.deterministic else str(len(self.correct))

    @property
    def seed_numbers(self) -> list[int]:
        """In the order of `correct`."""
        return [record.spec["seed"] for record in self.arm.finished]


@dataclass(frozen=True)
class Task:
    """A task of short texts, and the candidates on it."""

    study: str
    words: Found
    """The TF-IDF with the highest validation accuracy."""
    lora: Found
    head: Found | None
    """None where runs are missing."""
    full: Found | None

    @property
    def name(self) -> str:
        """Of the data."""
        return f"`{self.lora.arm.finished[0].data.name}`"

    @property
    def training_documents(self) -> str:
        """How many there are."""
        return formats.count(self.lora.arm.finished[0].data.train_documents)

    @property
    def precisions(self) -> set[str]:
        """In what the runs with an encoder were computed."""
        runs = [run for found in (self.head, self.lora, self.full) if found for run in found.arm.finished]
        return {run.compute.precision for run in runs if isinstance(run, FinishedEncoderRun)}

    @property
    def lora_and_words(self) -> tuple[str, Found, Found]:
        """The pair that says whether the encoder pays."""
        return f"{self.name}: LoRA, TF-IDF", self.lora, self.words

    @property
    def lora_and_others(self) -> list[tuple[str, Found, Found]]:
        """The pairs with the other ways to use the encoder."""
        others = (("full fine-tuning", self.full), ("head only", self.head))
        return [(f"{self.name}: LoRA, {what}", self.lora, other) for what, other in others if other is not None]


@dataclass(frozen=True)
class Ships:
    """What there is of the study of what ships: its arms that have runs, by what the page calls them."""

    arms: dict[str, Found]
    planned: int
    """Runs."""
    missing: int

    @property
    def pairs(self) -> list[tuple[str, Found, Found]]:
        """Each with an encoder and the better TF-IDF, and the other ways to use the encoder."""
        words = "TF-IDF of words, C = 5, the 8,192 most frequent terms"
        both, lora, full, head = "`lora+tfidf`", "LoRA", "full fine-tuning", "head only"
        wanted = [(both, words), (full, words), (lora, words), (both, lora), (both, full), (full, lora), (lora, head)]
        return [
            (f"{one}, {'TF-IDF of frequent terms' if other == words else other}", self.arms[one], self.arms[other])
            for one, other in wanted
            if one in self.arms and other in self.arms
        ]


@dataclass(frozen=True)
class Compared:
    """One arm less another."""

    difference: Difference
    p: float
    """Holm's over its table."""

    @property
    def points(self) -> str:
        """Percentage points with the interval, such as `+0.42 (−0.10 to +0.94)`."""
        interval = formats.points_interval(self.difference.interval, words=words_of("en"))
        return f"{formats.points(self.difference.mean)} ({interval})"

    @property
    def p_value(self) -> str:
        """Such as `0.0312`."""
        return formats.p_value(self.p)

    @property
    def outcome(self) -> Outcome:
        """Better, worse or not distinguishable."""
        return outcome_of(self.difference, p_value=self.p)

    @property
    def size(self) -> str:
        """The percentage points without their sign, such as `1.3`."""
        return f"{abs(100 * self.difference.mean):.1f}"


def _filled(block: str) -> str:
    """A paragraph or a list in lines of at most 120 characters; a table or a heading as it is."""
    if block.startswith(("|", "#")):
        return block
    items = re.split(r"\n(?=- )", block)
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()),
            width=120,
            subsequent_indent="  " if item.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    )


def outcomes(table: Sequence[tuple[str, Compared]]) -> dict[str, list[str]]:
    """The names of a table's pairs by their outcome."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "not distinguishable": []}
    for name, compared in table:
        found[compared.outcome].append(name)
    return found


def expect(table: Sequence[tuple[str, Compared]], outcome: str, *names: str) -> str:
    """The outcome, as a word for a sentence about some pairs of a table, or about all of them.

    Raises:
        RecordError: A pair has another outcome, or the table lacks a pair.
    """
    compared = dict(table)
    for name in names or compared:
        if name not in compared:
            raise RecordError(f"there is no comparison {name!r}; there are: {'; '.join(compared)}")
        if compared[name].outcome != outcome:
            raise RecordError(
                f"the page says that {name!r} is {outcome}, and the records say: {compared[name].outcome}"
            )
    return outcome


def claim(condition: bool, words: str) -> str:
    """The words, if the condition holds.

    Raises:
        RecordError: It does not.
    """
    if not condition:
        raise RecordError(f"the records contradict: {words}")
    return words


def _difference(arm: Found, other: Found) -> Difference:
    if not np.array_equal(arm.classes, other.classes):
        raise RecordError(f"the test documents of {arm.name} and {other.name} are not the same")
    runs, others = len(arm.correct), len(other.correct)
    correct = np.concatenate([arm.correct, other.correct])
    in_pairs = share_trainings(arm.arm, other.arm)
    return compare_accuracies(correct, range(runs), range(runs, runs + others), arm.groups, in_pairs=in_pairs)


def _has(arm: Arm, settings: dict[str, Any]) -> bool:
    # The arm's own name a pretraining in short; they lack what no arm beside it sets.
    flat = settings_of(arm.finished[0]) | arm.settings | {"data.source": _source(arm)}
    found = {name: flat[key] for name in settings for part in _PARTS if (key := f"{part}.{name}") in flat}
    return found == settings


def _source(arm: Arm) -> str:
    return str(arm.finished[0].spec["data"]["source"])


def _told(value: Estimate | None, write: Callable[[float], str]) -> str:
    return "–" if value is None else write(value.mean)


def main() -> None:
    """Write the page."""
    write_atomically(PAGE, Findings(ROOT / "records").write(TEMPLATE))


if __name__ == "__main__":
    main()
