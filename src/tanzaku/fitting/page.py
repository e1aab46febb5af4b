"""The page of a fit, as one HTML file that needs nothing else: its first screen says which classifier to take."""

from __future__ import annotations

import shlex
from pathlib import Path

from tanzaku.analysis.recommendation import non_inferiority
from tanzaku.display import number
from tanzaku.drawing.svg import SAMPLE
from tanzaku.fitting.candidate_table import by_size, candidate_name, candidate_parts, candidates_table
from tanzaku.fitting.charts import answer_rows, curve_drawing, reliability_drawing
from tanzaku.fitting.job import STUDY_FILE, Job
from tanzaku.fitting.sentences import verdict_text
from tanzaku.fitting.verdict import FitFindings
from tanzaku.report import formats
from tanzaku.report.templates import template
from tanzaku.words import Words

_STYLE = Path(__file__).parents[1] / "report" / "page" / "page.css"


def fit_page(findings: FitFindings, job: Job, *, words: Words) -> str:
    """The page in the language of `words`. Everything that comes from documents is escaped."""
    table = candidates_table(findings, words=words)
    lines = [
        (one, *candidate_parts(one, words=words), row) for one, row in zip(by_size(findings), table.rows, strict=True)
    ]
    chosen = findings.recommended
    return template("fit.html.jinja").render(
        sample=SAMPLE,
        curve=curve_drawing(findings, words=words),
        reliability=reliability_drawing(
            findings, name=candidate_name(chosen, words=words) if chosen else "", words=words
        ),
        answers=answer_rows(findings, words=words),
        words=words,
        text=words.text,
        plural=words.plural,
        style=_STYLE.read_text(encoding="utf-8"),
        findings=findings,
        verdict=verdict_text(findings, words=words),
        state=_state(findings),
        table=table,
        lines=lines,
        formats=formats,
        margin=number(100 * findings.margin),
        tidied=job.tidied,
        bundle=shlex.quote(str(job.out)),
        bundle_name=str(job.out),
        study=shlex.quote(str(job.folder / STUDY_FILE)),
        runs=shlex.quote(str(job.folder / "runs")),
    )


def _state(findings: FitFindings) -> str:
    """How the recommended candidate compares with the best: a verdict, or "best"."""
    chosen = findings.recommended
    difference = chosen.selected.from_best if chosen and chosen.selected else None
    return non_inferiority(difference.interval, margin=findings.margin) if difference else "best"
