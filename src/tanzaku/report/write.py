"""The whole report into a folder, each file atomically."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tanzaku.files import write_atomically
from tanzaku.report.arms import Section, sections_of
from tanzaku.report.csvs import arm_rows, run_rows
from tanzaku.report.document import latex_document, markdown_document
from tanzaku.report.render import csv_text
from tanzaku.study.record import RunRecord, read_records

FIGURE_FOLDER = "figures"
_OUR_FIGURE = re.compile(r"(section-\d+-)?(accuracy|time|size|loss|confusion)\.(svg|png)")


@dataclass(frozen=True)
class Report:
    """What was written, and what it was made from."""

    records: tuple[RunRecord, ...]
    sections: tuple[Section, ...]
    paths: tuple[Path, ...]


def write_report(runs: Path, folder: Path) -> Report:
    """Read the records below `runs` and write report.md, tables.tex, arms.csv, runs.csv and figures/ into `folder`.

    Equal records give equal bytes, as long as matplotlib and the fonts are the same. Figures that an earlier report
    left in `folder` and that this one does not have are removed.

    Raises:
        RecordError: There is no record, or one is damaged.
    """
    records = read_records(runs)
    sections = sections_of(records)
    figures, figure_paths = _write_figures(sections, folder)
    texts = {
        "report.md": markdown_document(sections, records=records, figures=figures),
        "tables.tex": latex_document(sections),
        "arms.csv": csv_text(arm_rows(sections)),
        "runs.csv": csv_text(run_rows(sections)),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text)
    paths = (*(folder / name for name in texts), *figure_paths)
    return Report(records=tuple(records), sections=tuple(sections), paths=paths)


def _write_figures(sections: Sequence[Section], folder: Path) -> tuple[dict[int, dict[str, str]], list[Path]]:
    """Write each figure as SVG and PNG; the SVGs' paths relative to `folder` by section and name, and all paths."""
    from tanzaku.report.figures import figures_of
    from tanzaku.report.style import applied

    relative: dict[int, dict[str, str]] = {}
    paths: list[Path] = []
    for number, section in enumerate(sections, start=1):
        prefix = f"section-{number}-" if len(sections) > 1 else ""
        with applied():
            for name, figure in figures_of(section).items():
                stem = f"{FIGURE_FOLDER}/{prefix}{name}"
                relative.setdefault(number, {})[name] = f"{stem}.svg"
                for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
                    content = io.BytesIO()
                    figure.savefig(content, format=suffix, metadata=metadata)
                    paths.append(folder / f"{stem}.{suffix}")
                    write_atomically(paths[-1], content.getvalue())
    for path in (folder / FIGURE_FOLDER).glob("*"):
        if _OUR_FIGURE.fullmatch(path.name) and path not in paths:
            path.unlink()
    return relative, paths
