"""The page: what people read, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from tanzaku.data.dataset import Dataset
from tanzaku.report import formats
from tanzaku.report.arms import Arm, Section
from tanzaku.report.evidence import Evidence, Predictions, RunKey, run_key
from tanzaku.report.page.figures import front_charts, loss_charts, rank_charts
from tanzaku.report.page.measured import measured_facts
from tanzaku.report.page.mistakes import mistakes_of
from tanzaku.report.page.naming import page_name
from tanzaku.report.page.results import confusions, lines_of, strip
from tanzaku.report.sentences import badge, told
from tanzaku.report.words import Words
from tanzaku.study.record import RunRecord

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PageInput:
    """What a page is made from."""

    sections: Sequence[Section]
    evidence: Sequence[Evidence]
    """Of each section."""
    records: Sequence[RunRecord]
    predictions: Predictions
    folders: Mapping[RunKey, Path]
    """Where each record lies."""
    runs: Path
    """The folder that was reported on; shown by its name alone."""
    margin: float
    dataset: Dataset | None
    """Data whose texts may be shown."""


def page_html(given: PageInput, *, words: Words) -> str:
    """The page in the language of `words`. Equal input gives equal bytes.

    Everything that comes from records or data is escaped.
    """
    parts = [
        _section_context(given, section, evidence, number=number, words=words)
        for number, (section, evidence) in enumerate(zip(given.sections, given.evidence, strict=True), start=1)
    ]
    studies = sorted({record.study for record in given.records})
    return _template().render(
        words=words,
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        study=", ".join(studies),
        records=given.records,
        parts=parts,
        margin=formats.compact(100 * given.margin),
        runs_name=given.runs.resolve().name,
        formats=formats,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def _section_context(
    given: PageInput, section: Section, evidence: Evidence, *, number: int, words: Words
) -> dict[str, Any]:
    name = partial(page_name, arms=section.arms, words=words)
    found = evidence.recommendation
    chosen = [arm for one in (found, evidence.among_encoders) if one for arm in (one.arm, one.best)]
    known = given.dataset is not None and given.dataset.fingerprint == section.data.fingerprint
    dataset = given.dataset if known else None
    looked_at = [arm for place, arm in enumerate(chosen) if arm not in chosen[:place]]
    return {
        "number": number,
        "section": section,
        "evidence": evidence,
        "name": name,
        "told": told(evidence, words=words, name=name),
        "badge": badge(found, words=words) if found else None,
        "strip": strip(found) if found else None,
        "pack": _pack_command(given, found.arm) if found else None,
        "lines": lines_of(section, evidence, words=words, name=name),
        "references": _references(evidence),
        "fronts": front_charts(section, evidence, words=words, name=name),
        "ranks": rank_charts(section, evidence, words=words, name=name),
        "losses": loss_charts(section, words=words, name=name),
        "confusions": confusions(section, looked_at),
        "mistakes": mistakes_of(section, looked_at, given.predictions, dataset=dataset),
        "measured": measured_facts(section, words=words),
    }


def _references(evidence: Evidence) -> list[Arm]:
    references: list[Arm] = []
    for comparison in evidence.comparisons:
        if comparison.reference not in references:
            references.append(comparison.reference)
    return references


def _pack_command(given: PageInput, arm: Arm) -> str:
    """How to pack the arm's run that is best on the validation set."""
    run = max(arm.finished, key=lambda record: record.val.accuracy if record.val else 0.0)
    below = given.folders[run_key(run)].relative_to(given.runs)
    return f"tanzaku pack {given.runs.resolve().name}/{below.as_posix()} --out BUNDLE"
