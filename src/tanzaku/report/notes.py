"""What to know of a section's results, as sentences: how to read the intervals and tests, and what is missing."""

from __future__ import annotations

from tanzaku.analysis.arms import Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import thesis
from tanzaku.report.sentences import class_notes
from tanzaku.report.words import Words


def result_notes(section: Section, evidence: Evidence, *, words: Words) -> list[str]:
    """The sentences that belong under the table of results."""
    notes = [*_baseline_notes(section, words), *class_notes(section, evidence, words=words)]
    notes += [*_interval_notes(evidence, words), *_test_notes(evidence, words)]
    if repeated := sum(len(arm.repeated) for arm in section.arms):
        notes.append(
            words.plural(
                "{n} finished run repeats the settings and seed of another; only the latest counts.",
                "{n} finished runs repeat the settings and seed of another; only the latest counts.",
                repeated,
            )
        )
    if thesis.beside(section):
        notes.append(
            words.text(
                "Thesis: the row of its Tables 3.2 to 3.4 with the same method, rank, learning rate and epochs. The "
                "encoder, the hardware and other settings may differ. Its training times include evaluation."
            )
        )
    return notes


def _baseline_notes(section: Section, words: Words) -> list[str]:
    if section.baseline is not None:
        return []
    return [
        words.text(
            "No TF-IDF baseline: these records have no finished {method} run on this data. Add one to the study: the "
            "value of an encoder only shows in comparison with it.",
            method="tfidf-svm",
        )
    ]


def _interval_notes(evidence: Evidence, words: Words) -> list[str]:
    kinds = {interval.kind for arm, interval in evidence.intervals if not arm.deterministic}
    notes = []
    if "wilson" in kinds:
        notes.append(words.text("One run: the interval covers other test documents, not other seeds."))
    if any(arm.deterministic for arm, _ in evidence.intervals):
        notes.append(
            words.text(
                "Deterministic methods, such as TF-IDF: one run counts for every seed, and the interval covers other "
                "test documents."
            )
        )
    if "both" in kinds:
        notes.append(
            words.text("Several seeds: the mean; the interval covers other seeds and other documents together.")
        )
        if evidence.predictions_missing:
            notes.append(
                words.text(
                    "Several seeds without stored predictions: the interval is wider than it could be, because it "
                    "assumes that the errors of all seeds are on the same documents."
                )
            )
    return notes


def _test_notes(evidence: Evidence, words: Words) -> list[str]:
    notes = []
    if any(one.outcome == "not distinguishable" for one in evidence.comparisons):
        notes.append(
            words.text(
                "“Not distinguishable”: the difference on the same documents may be due to chance (Holm's corrected p "
                "is 0.05 or more, over all comparisons). It does not mean that the two are equal."
            )
        )
    if any(one.seeds_covered == "one" for one in evidence.comparisons):
        notes.append(
            words.text(
                "Where one side of a comparison has a single run, the variation between seeds of that side is not "
                "covered."
            )
        )
    if evidence.predictions_missing:
        notes.append(words.text("Some runs have no stored predictions, so their arms are not compared."))
    return notes
