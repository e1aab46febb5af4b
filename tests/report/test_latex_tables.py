"""The tables for papers, as LaTeX sets them; those of the committed studies are set in `test_archives.py`."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from tanzaku.analysis.arms import sections_of
from tanzaku.analysis.rows import arm_rows, comparison_rows
from tanzaku.report import formats
from tanzaku.report.latex_tables import latex_document, paper_tables
from tanzaku.report.render import csv_text
from tanzaku.study.record import RunRecord
from tanzaku.words import Language, words_of
from tests.report.records import at_ranks, baseline, data_facts, evidence, finished, lora, study
from tests.typesetting import preambles, typeset, with_installed_font


def test_captions_say_what_one_star_and_two_mean() -> None:
    adapters = [finished(lora(rank), accuracy=0.9) for rank in (2, 8)]
    both = "⋆: recommended, among all arms and among those that adapt the encoder."
    cases: list[tuple[list[RunRecord], str]] = [
        ([*adapters], "⋆: recommended."),
        ([baseline(accuracy=0.95), *adapters], both),
    ]
    for records, note in cases:
        (section,), (found,) = sections_of(records), evidence(records)
        tables = paper_tables(section, found, words=words_of("en"))
        for name in ("results", "costs"):
            assert note in tables[name].caption
            stars = [row[0] for row in tables[name].rows if "⋆" in row[0]]
            assert len(stars) == (2 if note == both else 1)
            assert all(name.endswith("\u00a0⋆") for name in stars)  # never on a line of its own


def write_tables(records: list[RunRecord], folder: Path, *, language: Language) -> str:
    """The tables, with the CSV files that have the same figures in `folder`."""
    sections, found = sections_of(records), evidence(records)
    for name, rows in (("arms", arm_rows(sections, found)), ("comparisons", comparison_rows(found))):
        (folder / f"{name}.csv").write_text(csv_text(rows), encoding="utf-8")
    return latex_document(sections, found, words=words_of(language))


def check_numbers(lines: list[str], report: Path, *, to: str = "to") -> int:
    """Each row of figures must stand in the PDF as often as the CSV files have it; how many rows were checked."""
    expected = [row for rows in (results_of, costs_of, comparisons_of, ranks_of) for row in rows(report)]
    expected = [row.replace(" to ", f" {to} ") for row in expected]
    for row in set(expected):
        shown = sum(f" {row} " in f" {line} " for line in lines)
        assert shown >= expected.count(row), f"{report}: {row!r} stands {shown} times in the PDF"
    return len(expected)


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def results_of(report: Path) -> Iterator[str]:
    rows = rows_of(report / "arms.csv")
    for row in rows:
        together = [one for one in rows if one["section"] == row["section"]]
        ends = [percent(row[f"test_accuracy_interval_{end}"]) for end in ("low", "high")]
        cells = [row["runs_finished"], percent(row["test_accuracy_mean"]), "–".join(ends)]
        if any(int(one["runs_finished"]) > 1 for one in together):
            cells.append(percent(row["test_accuracy_standard_deviation"]))
        cells.append(percent(row["test_macro_f1_mean"]))
        if any(one["thesis_table"] for one in together):
            cells += [percent(row["thesis_test_accuracy"]), row["thesis_table"] or "–"]
        yield " ".join(cells)


def costs_of(report: Path) -> Iterator[str]:
    for row in rows_of(report / "arms.csv"):
        cells = [
            formats.thousands(float(row["trainable_parameters_mean"])),
            formats.megabytes(float(row["saved_bytes_mean"]) / 1e6),
            formats.seconds(float(row["train_seconds_mean"])),
            f"{float(row['peak_memory_bytes_mean']) / 1e9:.2f}",
        ]
        yield " ".join(cells)


def comparisons_of(report: Path) -> Iterator[str]:
    for row in rows_of(report / "comparisons.csv"):
        low, high = (points(row[f"test_accuracy_difference_{end}"]) for end in ("low", "high"))
        accuracy = f"{points(row['test_accuracy_difference'])} {low} to {high} {p_value(row['test_accuracy_p_holm'])}"
        yield f"{accuracy} {points(row['test_macro_f1_difference'])} {p_value(row['test_macro_f1_p_holm'])}"


def ranks_of(report: Path) -> Iterator[str]:
    for row in rows_of(report / "ranks.csv"):
        if row.get("test_accuracy_difference"):
            low, high = (points(row[f"test_accuracy_difference_{end}"]) for end in ("low", "high"))
            separate = percent(row["separate_test_accuracy_mean"])
            p = p_value(row["test_accuracy_p_holm"])
            yield f"{separate} {points(row['test_accuracy_difference'])} {low} to {high} {p}"


def percent(share: str) -> str:
    return f"{100 * float(share):.2f}" if share else "–"


def points(share: str) -> str:
    text = f"{100 * float(share):+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")


def p_value(value: str) -> str:
    return f"{float(value):.4f}" if float(value) >= 0.0001 else "<0.0001"


def test_the_tables_of_one_s_own_data_are_set_by_pdflatex_with_japanese_names(tmp_path: Path) -> None:
    names = ("家電", "映画_A", *(f"トピック {number}" for number in range(3, 60)), "weather")
    data = data_facts(names, name="問い合わせ").model_copy(update={"train_documents_per_class": tuple(range(901, 961))})
    records = [finished(lora(rank), accuracy=accuracy, data=data) for rank, accuracy in ((2, 0.86), (8, 0.90))]
    text = write_tables([baseline(data=data, accuracy=0.88), *records], tmp_path, language="en")
    made = typeset("pdflatex", preambles()[0], [text], folder=tmp_path)
    assert made.overfull == made.missing == []
    assert check_numbers(made.lines, tmp_path) == 8
    assert "class 1 901 13 62" in made.lines
    assert "weather 960 12 61" in made.lines
    assert "Thesis" not in " ".join(made.lines)


def test_a_japanese_report_has_japanese_captions_and_headings(tmp_path: Path) -> None:
    data = data_facts(("家電", "映画"), name="問い合わせ", fingerprint="f" * 64)
    own = [finished(lora(8), accuracy=accuracy, data=data, seed=seed) for seed, accuracy in enumerate((0.8, 0.82))]
    ranked = at_ranks(finished(lora(8), accuracy=0.9), {2: 0.8, 8: 0.9})
    text = write_tables([*study()[:12], ranked, *own], tmp_path, language="ja")
    made = typeset("lualatex", with_installed_font(preambles()[1]), [text], folder=tmp_path)
    assert made.overfull == made.missing == []
    assert check_numbers(made.lines, tmp_path, to="～") > 20
    shown = "".join(made.lines).replace(" ", "")
    for words in (
        "表1:livedoorのクラスごとの文書数",
        "手法",
        "正解率",
        "マクロF1",
        "論文",
        "家電",
        "映画",
        "推奨する手法です",
    ):
        assert words in shown
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert len(captions) >= 12
    assert all(re.search("[ぁ-ん]", caption) for caption in captions)
