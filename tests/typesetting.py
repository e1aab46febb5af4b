"""LaTeX for tests; where there is none they are skipped, except on CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib import font_manager

ROOT = Path(__file__).parents[1]
_NEEDED = ("pdflatex", "lualatex", "pdftotext")
_PACKAGES = "texlive-latex-recommended texlive-luatex poppler-utils fonts-ipaexfont-mincho"
_JAPANESE_FONTS = ("ipaexm.ttf", "NotoSerifCJK-Regular.ttc", "NotoSansCJK-Regular.ttc")


@dataclass(frozen=True)
class Typeset:
    """What came out of LaTeX."""

    log: str
    lines: list[str]
    """Of the PDF's text, each with its white space run together."""

    @property
    def overfull(self) -> list[str]:
        """What does not fit the width of the text."""
        return re.findall(r"^Overfull \\hbox.*$", self.log, re.MULTILINE)

    @property
    def missing(self) -> list[str]:
        """Characters that no font has."""
        return re.findall(r"^Missing character.*$", self.log, re.MULTILINE)


def preambles() -> tuple[str, str]:
    """The documents of docs/report.md: for either engine, and for Japanese."""
    page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```latex\n(.*?)```", page, re.DOTALL)
    return first, second


def typeset(engine: str, document: str, tables: list[str], *, folder: Path) -> Typeset:
    """Run an engine over a document of docs/report.md with these tables for its own, each from a new page.

    It stops at the first error, which fails the test.
    """
    for index, text in enumerate(tables):
        (folder / f"tables-{index}.tex").write_text(text, encoding="utf-8")
    several = "\n".join(rf"\input{{tables-{index}.tex}}\clearpage" for index in range(len(tables)))
    assert r"\input{tables.tex}" in document
    (folder / "document.tex").write_text(document.replace(r"\input{tables.tex}", several), encoding="utf-8")
    _check_installed()
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    # As long lines as TeX allows, so that no message is cut in two.
    environment = {**os.environ, "max_print_line": "1000", "error_line": "254", "half_error_line": "238"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    log = (folder / "document.log").read_text(encoding="utf-8", errors="replace")
    assert run.returncode == 0, "\n".join(re.findall(r"^!.*$", log, re.MULTILINE)) or log[-2000:]
    shown = subprocess.run(["pdftotext", "-layout", "document.pdf", "-"], cwd=folder, capture_output=True, check=True)
    return Typeset(log, [" ".join(line.split()) for line in shown.stdout.decode("utf-8").splitlines()])


def with_installed_font(document: str) -> str:
    """The Japanese document with fonts by their files, since the first look-up of a font by its name takes a minute."""
    fonts = {Path(path).name: path for path in font_manager.findSystemFonts()}
    path = next((fonts[name] for name in _JAPANESE_FONTS if name in fonts), None)
    if path is None:
        _give_up("no Japanese font is installed")
    changed = document.replace("Noto Serif CJK JP:", f"[{path}]:").replace(
        "Latin Modern Roman", "lmroman10-regular.otf"
    )
    assert changed.count(str(path)) == changed.count("lmroman10-regular.otf") == 1
    return changed


def _check_installed() -> None:
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        _give_up(f"{', '.join(missing)} is not installed")


def _give_up(reason: str) -> None:
    hint = f"{reason} (Debian: apt-get install --no-install-recommends {_PACKAGES})"
    if os.environ.get("CI"):
        pytest.fail(f"CI is set, but {hint}; `make programs` installs it")
    pytest.skip(hint)
