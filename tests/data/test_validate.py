import warnings

import pytest

from tanzaku.data.dataset import Documents
from tanzaku.data.findings import Finding, ProblemsError, raise_errors, warn_of
from tanzaku.data.raw import RawDocuments, RowError, listed, reading_problems
from tanzaku.data.validate import row_problems, split_problems, unusable_rows
from tanzaku.errors import TanzakuWarning


def rows(*pairs: tuple[str, str]) -> RawDocuments:
    return RawDocuments(
        [text for text, _ in pairs], [label for _, label in pairs], places=[f"row {n}" for n in range(len(pairs))]
    )


def documents(labels: str, *, prefix: str = "text") -> Documents:
    return Documents(tuple(f"{prefix} {n}" for n in range(len(labels))), tuple(labels))


def splits(train: str, val: str, test: str) -> dict[str, Documents]:
    parts = {"train": train, "val": val, "test": test}
    return {split: documents(labels, prefix=split) for split, labels in parts.items()}


def by_kind(findings: list[Finding]) -> dict[str, str]:
    assert len({finding.kind for finding in findings}) == len(findings)
    return {finding.kind: str(finding) for finding in findings}


def test_rows_in_order_pass() -> None:
    good = rows(("a", "x"), ("b", "y"))
    assert row_problems(good) == []
    assert unusable_rows(good) == []


@pytest.mark.parametrize("nothing", ["\0", "\u200b\ufeff", " \u202a\x7f ", "\u3164"])
def test_texts_and_labels_of_nothing_to_see_are_empty(nothing: str) -> None:
    found = by_kind(row_problems(rows(("a", "x"), (nothing, "x"))))
    assert found == {
        "empty-text": "1 of 2 rows has an empty text: row 1. Fill them, or pass --drop-empty to leave them out."
    }
    found = by_kind(row_problems(rows(("a", "x"), ("a", nothing))))
    assert found == {
        "no-label": "1 of 2 rows has no label: row 1. Fill them, or pass --drop-unlabelled to leave them out."
    }


def test_the_first_five_empty_rows_are_named_and_the_others_counted() -> None:
    bad = rows(*[(" \u3000", "x")] * 7, ("a", "x"))
    found = by_kind(row_problems(bad))["empty-text"]
    assert "7 of 8 rows have an empty text: row 0; row 1; row 2; row 3; row 4; and 2 more. " in found
    assert unusable_rows(bad) == list(range(7))


def test_all_kinds_of_faults_are_found_at_once_and_leave_the_other_rows() -> None:
    bad = rows(
        ("", "x"), ("a", ""), ("a\ud800", "x"), ("#REF!", "x"), ("a", "#N/A"), ("good", "x"), ("lost\ufffd", "x")
    )
    found = by_kind(row_problems(bad))
    assert set(found) == {"empty-text", "no-label", "half-character", "error-value", "lost-characters"}
    assert "row 2. Correct the escapes (\\ud800" in found["half-character"]
    assert "2 of 7 rows have an error value" in found["error-value"]
    assert unusable_rows(bad) == [0, 1, 2, 3, 4]


def test_labels_of_merged_cells_are_explained() -> None:
    merged = rows(("a", "x"), ("b", ""), ("c", ""), ("d", "y"), ("e", ""))
    assert "merged cells" in by_kind(row_problems(merged))["no-label"]
    assert "merged cells" not in by_kind(row_problems(rows(("a", ""), ("b", ""), ("c", "x"))))["no-label"]
    assert "merged cells" not in by_kind(row_problems(rows(("a", "x"), ("b", ""), ("c", "x"), ("d", ""))))["no-label"]


def test_what_can_not_be_read_is_one_problem_per_remedy_and_errors_are_raised_together() -> None:
    bad = rows(("", "x"), ("a", "x"))
    bad.refuse(RowError("row 7: has 3 fields", "Enclose it.", kind="fields"))
    bad.refuse(RowError("row 9: has 4 fields", "Enclose it.", kind="fields"))
    warning = Finding("other", "look at it", "warning", "a.csv")
    found = [*reading_problems(bad), *row_problems(bad)]
    with pytest.raises(ProblemsError) as caught:
        raise_errors([warning, *found])
    assert [finding.kind for finding in caught.value.findings] == ["fields", "empty-text"]
    assert str(caught.value).splitlines() == [
        "2 problems:",
        "- row 7: has 3 fields; row 9: has 4 fields. Enclose it.",
        "- 1 of 2 rows has an empty text: row 0. Fill them, or pass --drop-empty to leave them out.",
    ]
    raise_errors([warning])
    with pytest.warns(TanzakuWarning, match=r"^a.csv: look at it$") as warned:
        warn_of([warning, *found])
    assert len(warned) == 1


def test_problems_are_listed_under_their_sources() -> None:
    problems = [Finding("x", "one", source="a"), Finding("y", "two", source="a"), Finding("x", "three", source="b")]
    with pytest.raises(ProblemsError) as caught:
        raise_errors(problems)
    assert str(caught.value).splitlines() == ["a: 2 problems:", "- one", "- two", "b: three"]
    with pytest.raises(ProblemsError, match=r"^b: three$"):
        raise_errors(problems[2:])


@pytest.mark.parametrize(("count", "end"), [(5, "row 4"), (6, "row 4; and 1 more"), (1005, "row 4; and 1,000 more")])
def test_of_more_than_five_the_others_are_counted(count: int, end: str) -> None:
    items = [f"row {number}" for number in range(count)]
    assert listed(items) == f"row 0; row 1; row 2; row 3; {end}"
    assert listed(items[:1]) == "row 0"


@pytest.mark.parametrize(("split", "data"), [("val", ("ab", "abc", "ab")), ("test", ("ab", "ab", "abc"))])
def test_a_class_that_train_has_not_is_a_problem(split: str, data: tuple[str, str, str]) -> None:
    found = by_kind(split_problems(splits(*data)))
    assert set(found) == {"unknown-class"}
    assert found["unknown-class"].startswith(f"{split}: has classes that train does not have: 'c' (1 row). ")
    assert found["unknown-class"].endswith("train's classes are: 'a'; 'b'.")


def test_a_class_that_only_train_has_is_warned_of_and_an_empty_split_is_a_problem() -> None:
    (warning,) = split_problems(splits("ab", "ab", "a"))
    assert (warning.severity, str(warning)) == (
        "warning",
        "test: has no documents of 'b', so it says nothing about them.",
    )
    (problem,) = split_problems(splits("ab", "", "ab"))
    assert (problem.severity, problem.kind, problem.source) == ("error", "empty-split", "val")
    assert {problem.source for problem in split_problems(splits("", "a", "a")) if problem.kind == "empty-split"} == {
        "train"
    }
    assert split_problems(splits("ab", "ab", "ba")) == []


@pytest.mark.parametrize(("split", "texts"), [("val", ("one", "three")), ("test", ("four", "two"))])
def test_texts_of_train_in_another_split_are_counted(split: str, texts: tuple[str, str]) -> None:
    def of(*texts: str) -> Documents:
        return Documents(texts, ("a",) * len(texts))

    parts = {"val": of("five"), "test": of("six"), split: of(*texts)}
    (warning,) = split_problems({"train": of("one", "two")} | parts)
    assert warning.severity == "warning"
    assert str(warning).startswith(f"{split}: 1 of 2 texts is in train too, which makes")
    spelled = {"val": of("five"), "test": of("six")} | {split: of("ＯＮＥ ", "three")}  # it reads alike
    (warning,) = split_problems({"train": of("one", "two")} | spelled)
    assert str(warning).startswith(f"{split}: 1 of 2 texts is in train too")
    both = of("one", "two", "six")
    (warning, _) = split_problems({"train": of("one", "two"), "val": both, "test": both})
    assert str(warning).startswith("val: 2 of 3 texts are in train too")
    assert split_problems({"train": of("one", "two"), "val": of("five"), "test": of("six")}) == []


def test_nothing_to_warn_of_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of([Finding("x", "a problem"), Finding("y", "a note", "note")])
