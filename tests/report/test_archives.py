"""The reports of the committed studies: each can be written, and LaTeX sets its tables in both engines."""

import re
from pathlib import Path

import pytest

from tanzaku.report.write import read_page, report_texts
from tests.report.test_latex_tables import check_numbers
from tests.typesetting import ROOT, Typeset, preambles, typeset, with_installed_font

ARCHIVES = sorted(path.parent for path in (ROOT / "records").glob("*/runs.jsonl"))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder for each archive, with its report's texts."""
    folders = []
    for archive in ARCHIVES:
        folder = tmp_path_factory.mktemp("reports") / archive.name
        folder.mkdir()
        for name, text in report_texts(read_page(archive), figures={}).items():
            (folder / name).write_text(text, encoding="utf-8")
        folders.append(folder)
    return folders


def test_each_archive_s_report_can_be_written(reports: list[Path]) -> None:
    assert len(reports) == 15
    for report in reports:
        page, document = ((report / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
        assert f"tanzaku study report {ROOT / 'records' / report.name}" in re.sub("</?span>", "", page)
        assert page.rstrip().endswith("</html>")
        assert "Take " in page
        assert "Not compared" not in document


@pytest.mark.parametrize("engine", ["pdflatex", "lualatex"])
def test_every_study_s_tables_fit_the_page_and_have_the_numbers_of_its_csv_files(
    engine: str, reports: list[Path], tmp_path: Path
) -> None:
    """All studies in one document, each after a line with its name; some have Japanese labels."""
    tables = [
        rf"\noindent study {report.name}\clearpage" + (report / "tables.tex").read_text(encoding="utf-8")
        for report in reports
    ]
    latin, japanese = preambles()
    document = latin if engine == "pdflatex" else with_installed_font(japanese)
    made: Typeset = typeset(engine, document, tables, folder=tmp_path)
    assert made.overfull == []
    assert made.missing == []
    checked = 0
    for report in reports:
        begin = made.lines.index(f"study {report.name}")
        following = (place for place, line in enumerate(made.lines) if place > begin and line.startswith("study "))
        checked += check_numbers(made.lines[begin : next(following, None)], report)
    assert checked > 300
