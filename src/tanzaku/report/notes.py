"""What to know of a section's results, as sentences: how to read the intervals and tests, and what is missing."""

from __future__ import annotations

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.run_scores import FEWEST_GROUPS
from tanzaku.report.sentences import class_notes
from tanzaku.words import Words, message


def result_notes(section: Section, evidence: Evidence, *, words: Words) -> list[str]:
    """The sentences that belong under the table of results."""
    repeated = sum(len(arm.repeated) for arm in section.arms)
    without_baseline = words.text(
        "No TF-IDF baseline: these records have no finished {method} run on this data. Add one to the study: the value "
        "of an encoder only shows in comparison with it.",
        method="tfidf-svm",
    )
    repetitions = words.plural(
        "{n} finished run repeats the settings and seed of another; only the latest counts.",
        "{n} finished runs repeat the settings and seed of another; only the latest counts.",
        repeated,
    )
    published = words.text(
        "Thesis: the row of its Tables 3.2 to 3.4 with the same method, rank, learning rate and epochs. The encoder, "
        "the hardware and other settings may differ. Its training times include evaluation."
    )
    return [
        *([without_baseline] if section.baseline is None else []),
        *class_notes(section, evidence, words=words),
        *_evidence_notes(evidence, words),
        *([repetitions] if repeated else []),
        *([published] if thesis.published_rows(section) else []),
    ]


# What an interval covers, by whether documents belong to groups.
_ONE_RUN = {
    False: message("One run: the interval covers other test documents, not other seeds."),
    True: message("One run: the interval covers other groups of test documents, not other seeds."),
}
_DETERMINISTIC = {
    False: message(
        "Deterministic methods, such as TF-IDF: one run counts for every seed, and the interval covers other test "
        "documents."
    ),
    True: message(
        "Deterministic methods, such as TF-IDF: one run counts for every seed, and the interval covers other groups of "
        "test documents."
    ),
}
_SEVERAL_SEEDS = {
    False: message("Several seeds: the mean; the interval covers other seeds and other documents together."),
    True: message("Several seeds: the mean; the interval covers other seeds and other groups of documents together."),
}


def _evidence_notes(evidence: Evidence, words: Words) -> list[str]:
    """What intervals and tests cover."""
    text, missing = words.text, evidence.predictions_missing
    kinds = {interval.kind for arm, interval in evidence.intervals if not arm.deterministic}
    deterministic = any(arm.deterministic for arm, _ in evidence.intervals)
    indistinct = any(one.outcome == "not distinguishable" for one in evidence.comparisons)
    single = any(one.seeds_covered == "one" for one in evidence.comparisons)
    grouped = evidence.groups is not None
    few = evidence.groups is not None and evidence.groups < FEWEST_GROUPS
    notes = {
        text(
            "The documents belong to groups, and those of a group are not independent of each other. Therefore, the "
            "intervals and tests of this table and of the comparisons are over groups. The intervals of single runs "
            "in runs.csv, and those of the reliability of probabilities, still count documents."
        ): grouped,
        text(
            "The test documents belong to fewer than {fewest} groups, which are too few to find any difference.",
            fewest=FEWEST_GROUPS,
        ): few,
        text(_ONE_RUN[grouped]): "wilson" in kinds,
        text(_DETERMINISTIC[grouped]): deterministic,
        text(_SEVERAL_SEEDS[grouped]): "both" in kinds,
        text(
            "Several seeds without stored predictions: the interval is wider than it could be, because it assumes that "
            "the errors of all seeds are on the same documents."
        ): "both" in kinds and missing,
        text(
            "Comparisons: the difference in percentage points, and p after Holm's correction over all comparisons. "
            "“Better” and “worse”: this p is below 0.05."
        ): bool(evidence.comparisons),
        text(
            "“Not distinguishable”: the difference on the same documents may be due to chance (Holm's corrected p is "
            "0.05 or more, over all comparisons). It does not mean that the two are equal."
        ): indistinct,
        text(
            "Where one side of a comparison has a single run, the variation between seeds of that side is not covered."
        ): single,
        text("Some runs have no stored predictions, so their arms are not compared."): missing,
    }
    return [note for note, applies in notes.items() if applies]
