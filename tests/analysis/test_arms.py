"""Records to sections and arms, and the figures over seeds."""

import statistics
from pathlib import Path

import pytest

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import MAX_TOKENS, POOLING, Arm, arms_of, sections_of
from tanzaku.pretraining.options import ContinuedOptions
from tanzaku.report import formats
from tanzaku.report.names import legend_names, page_name
from tanzaku.study.record import DistillationFacts, FinishedEncoderRun, RunRecord
from tanzaku.words import LANGUAGES, words_of
from tests.report.records import baseline, data_facts, encoder_facts, evidence, failed, finished, lora, study, training


def test_rows_are_ordered_as_the_thesis_reads() -> None:
    long = finished(lora(2), accuracy=0.9, learning_rate=5e-5, training=training(5e-5, epochs=100))
    arms = arms_of(list(reversed([*study(), long])))
    assert [arm.method for arm in arms[:3]] == ["tfidf-svm", "head", "full"]
    ranked = [(arm.learning_rate, arm.epochs, arm.rank) for arm in arms[3:]]
    assert ranked[0] == (5e-4, 5, 2)
    assert ranked == [(5e-4, 5, rank) for rank in (2, 4, 8, 32, 64, 128, 256)] + [
        (5e-5, 5, rank) for rank in (2, 4, 8, 32, 64, 128, 256)
    ] + [(5e-5, 100, 2)]


def test_an_arm_of_a_method_that_is_not_installed_is_shown_by_the_methods_name() -> None:
    full, lora_arm, unknown = (
        finished(method, accuracy=0.9) for method in ({"name": "full"}, lora(8), {"name": "of-a-package", "depth": 3})
    )
    arms = arms_of([lora_arm, unknown, full])
    assert [arm.method for arm in arms] == ["full", "of-a-package", "lora"]
    assert [arm.name for arm in arms] == ["Full fine-tuning", "of-a-package", "LoRA"]
    assert arms[1].method_class is None


def test_an_arm_of_a_baseline_method_is_the_sections_baseline() -> None:
    (section,) = sections_of([finished(lora(8), accuracy=0.95), finished({"name": "tfidf-svm"}, accuracy=0.9)])
    assert section.baseline is not None
    assert section.baseline.method == "tfidf-svm"
    (without,) = sections_of([finished(lora(8), accuracy=0.95), finished({"name": "full"}, accuracy=0.9)])
    assert without.baseline is None


def test_several_seeds_have_a_mean_and_a_spread() -> None:
    runs = [finished(lora(8), accuracy=accuracy, seed=seed) for seed, accuracy in enumerate((0.90, 0.91, 0.93))]
    (arm,) = arms_of(runs)
    values = [run.test.accuracy for run in runs]
    assert arm.accuracy is not None
    assert arm.accuracy.mean == pytest.approx(statistics.fmean(values))
    assert (arm.accuracy.lowest, arm.accuracy.highest) == (min(values), max(values))
    assert arm.accuracy.standard_deviation == pytest.approx(statistics.stdev(values))
    (alone,) = arms_of(runs[:1])
    assert alone.accuracy is not None
    assert alone.accuracy.standard_deviation is None


def test_a_setting_that_older_records_lack_does_not_divide_an_arm() -> None:
    runs = [finished(lora(8), accuracy=0.9, seed=seed) for seed in (1, 2, 3)]
    runs[0].spec["training"].pop("distill", None)
    runs[1].spec["training"]["distill"] = None
    (arm,) = arms_of(runs)
    assert len(arm.finished) == 3
    other = finished(lora(4), accuracy=0.9)
    other.spec["training"]["distill"] = None
    runs[1].spec["training"].pop("distill")
    assert len({one.series for one in arms_of([*runs[:2], other])}) == 1


def test_other_settings_are_other_arms_but_names_and_checkpoints_are_not() -> None:
    runs = [
        finished(lora(8), accuracy=0.9, seed=1),
        finished(lora(8), accuracy=0.9, seed=2, training=training(5e-4, checkpoint_minutes=1.0)),
        finished(lora(8), accuracy=0.9, seed=3, training=training(5e-4, batch_size=16)),
        finished(lora(8, dropout=0.0), accuracy=0.9, seed=1),
    ]
    assert sorted(len(arm.finished) for arm in arms_of(runs)) == [1, 1, 2]


def test_failed_runs_stay_with_their_arm() -> None:
    arms = arms_of(
        [finished(lora(8), accuracy=0.9, seed=1), failed(lora(8), error="boom", seed=2), failed(lora(4), error="x")]
    )
    assert [(arm.rank, len(arm.finished), len(arm.failed)) for arm in arms] == [(4, 0, 1), (8, 1, 1)]
    assert arms[0].accuracy is None


def test_a_repeated_run_counts_once_and_the_latest_wins() -> None:
    early = finished(lora(8), accuracy=0.80, ended="2025-01-01T00:00:00+00:00")
    late = finished(lora(8), accuracy=0.90, ended="2025-01-02T00:00:00+00:00")
    (arm,) = arms_of([late, early])
    assert arm.finished == (late,)
    assert arm.repeated == (early,)


def test_other_data_and_other_encoders_are_other_sections() -> None:
    other_data = data_facts(fingerprint="f" * 64)
    other_encoder = encoder_facts(fingerprint="1" * 64)
    sections = sections_of(
        [
            baseline(),
            finished(lora(8), accuracy=0.9),
            finished(lora(8), accuracy=0.8, data=other_data),
            finished(lora(8), accuracy=0.7, encoder=other_encoder),
        ]
    )
    assert len(sections) == 3
    assert all(len({record.data.fingerprint for record in section.records}) == 1 for section in sections)
    assert [section.baseline is not None for section in sections] == [True, False, True]
    assert [[arm.rank for arm in section.arms if arm.rank] for section in sections] == [[8], [8], [8]]


def test_a_run_that_failed_before_its_encoder_was_loaded_joins_those_with_its_name() -> None:
    (section,) = sections_of([failed(lora(4), error="no dictionary"), finished(lora(8), accuracy=0.9)])
    assert len(section.arms) == 2
    (alone,) = sections_of([failed(lora(4), error="no dictionary")])
    assert alone.encoder is None
    assert alone.encoder_name == "small-encoder"


def test_of_a_folder_on_the_studys_machine_its_last_part_is_shown() -> None:
    record = finished(lora(8), accuracy=0.9)
    for name, shown in (("/home/somebody/models/mine", "mine"), ("owner/encoder", "owner/encoder")):
        spec = record.spec | {"encoder": record.spec["encoder"] | {"name": name}}
        (section,) = sections_of([record.model_copy(update={"spec": spec})])
        assert section.encoder_name == shown


def test_a_baseline_alone_is_a_section() -> None:
    (section,) = sections_of([baseline()])
    assert section.encoder_name is None


def test_the_best_arm_is_chosen_on_the_validation_set() -> None:
    good_on_test = finished(lora(8), accuracy=0.95)
    good_on_val = finished(lora(4), accuracy=0.90)
    swapped = [
        good_on_test.model_copy(update={"val": good_on_val.val}),
        good_on_val.model_copy(update={"val": good_on_test.val}),
    ]
    (found,) = evidence(swapped)
    assert found.recommendation is not None
    assert found.recommendation.best.rank == 4


def test_an_arms_best_run_is_chosen_on_the_validation_set() -> None:
    first, second, third = (finished(lora(8), accuracy=0.9, seed=seed) for seed in (1, 2, 3))
    better = finished(lora(8), accuracy=0.91).val
    (arm,) = arms_of([first, second.model_copy(update={"val": better}), third])
    found = arm.best_run("accuracy")
    assert found is not None
    assert found.spec["seed"] == 2
    rare = third.val.model_copy(update={"macro_f1": 0.99})
    (arm,) = arms_of([first, second.model_copy(update={"val": better}), third.model_copy(update={"val": rare})])
    by_macro_f1 = arm.best_run("macro_f1")
    assert by_macro_f1 is not None
    assert by_macro_f1.spec["seed"] == 3
    (broken,) = arms_of([failed(lora(8), error="boom")])
    assert broken.best_run("accuracy") is None


def _reading(record: FinishedEncoderRun, **encoder: object) -> FinishedEncoderRun:
    return record.model_copy(update={"spec": {**record.spec, "encoder": {**record.spec["encoder"], **encoder}}})


def _default(**changes: object) -> FinishedEncoderRun:
    defaults: dict[str, object] = {"pooling": "cls", "long_text": "head", "max_windows": None}
    return _reading(finished(lora(8), accuracy=0.9), **(defaults | changes))


def test_how_documents_are_read_goes_without_saying_at_its_defaults() -> None:
    (arm,) = arms_of([_default()])
    assert POOLING not in arm.settings
    assert arm.name == "LoRA"


def test_arms_that_read_documents_otherwise_have_other_names() -> None:
    records: list[RunRecord] = [
        baseline(),
        _default(),
        _default(pooling="mean"),
        _default(pooling="mean", long_text="windows", max_windows=4),
    ]
    arms = arms_of(records)
    assert sorted(arm.name for arm in arms) == [
        "LoRA, cls, head",
        "LoRA, mean, head",
        "LoRA, mean, windows, at most 4 windows",
        "TF-IDF + SVM",
    ]
    assert [arm.settings.get(POOLING) for arm in arms if arm.method == "lora"].count("cls") == 1
    assert len(set(legend_names([arm for arm in arms if arm.rank]))) == 3


def _trained(record: FinishedEncoderRun, **settings: object) -> FinishedEncoderRun:
    return record.model_copy(update={"spec": {**record.spec, "training": {**record.spec["training"], **settings}}})


def _distilled(seed: int, teacher: str, fingerprint: str) -> FinishedEncoderRun:
    facts = DistillationFacts(
        teacher=Path(teacher).name,
        teacher_fingerprint=fingerprint,
        teacher_method="full",
        documents=0,
        texts_sha256=None,
    )
    made = _trained(finished(lora(8), accuracy=0.9, seed=seed), distill={"teacher": teacher, "texts": None})
    return made.model_copy(update={"distillation": facts})


def test_a_teacher_that_was_moved_makes_no_other_arm_and_another_of_the_same_name_does() -> None:
    moved = [_distilled(1, "large", "a"), _distilled(2, "/data/large", "a"), _distilled(3, r"C:\bundles\large", "a")]
    (arm,) = arms_of(moved)
    assert len(arm.finished) == 3
    two = [_distilled(1, "a/large", "a"), _distilled(2, "a/large", "a"), _distilled(1, "b/large", "b")]
    arms = arms_of(two)
    assert sorted(len(arm.finished) for arm in arms) == [1, 2]
    assert sorted(arm.name for arm in arms) == ["LoRA, distilled from a/large", "LoRA, distilled from b/large"]


def test_arms_with_other_schedules_and_rates_have_other_names() -> None:
    plain = finished(lora(8), accuracy=0.9)
    changes: list[dict[str, object]] = [
        {},
        {"schedule": "cosine", "warmup": 0.1},
        {"schedule": "wsd", "decay": 0.3},
        {"schedule": "plateau", "plateau_factor": 0.1, "plateau_patience": 2},
        {"head_learning_rate": 5e-3},
    ]
    defaults = {"schedule": "linear", "warmup": 0.0, "decay": 0.2, "plateau_factor": 0.5, "plateau_patience": 1}
    arms = arms_of([_trained(plain, **(defaults | {"head_learning_rate": None} | one)) for one in changes])
    assert len(arms) == len(changes)
    names = {arm.name for arm in arms}
    assert len(names) == len(changes)
    assert any("cosine" in name for name in names)
    assert any("head lr 5e-3" in name for name in names)
    assert len(set(legend_names(arms))) == len(changes)
    # Only the first is as the thesis trains.
    assert [thesis.published_for(arm) is not None for arm in arms].count(True) == 1


def test_arms_of_a_method_are_named_by_whatever_they_differ_in() -> None:
    old = finished(lora(8), accuracy=0.9)
    full = finished({"name": "full"}, accuracy=0.9)
    arms = arms_of([full, *(_trained(old, batch_size=size) for size in (8, 16))])
    names = [arm.name for arm in arms]
    assert names == [
        "Full fine-tuning",
        "LoRA, batch size 16",
        "LoRA, batch size 8",
    ]
    assert len(set(legend_names(arms))) == 3
    nested = [
        finished({"name": "lora-nested", "ranks": [2, 8], "pooler": pooler}, accuracy=0.9) for pooler in (False, True)
    ]
    assert [arm.name for arm in arms_of(nested)] == ["Nested LoRA", "Nested LoRA, with the pooler"]


def test_lora_plus_is_an_arm_of_its_own_and_not_the_thesis() -> None:
    plain = finished(lora(8, lora_plus_ratio=1.0), accuracy=0.9)
    (alone,) = arms_of([plain])
    assert "method.lora_plus_ratio" not in alone.settings
    arms = arms_of([plain, finished(lora(8, lora_plus_ratio=16.0), accuracy=0.9)])
    assert {arm.settings["method.lora_plus_ratio"]: thesis.published_for(arm) is None for arm in arms} == {
        1.0: False,
        16.0: True,
    }


def test_the_length_is_named_where_it_differs() -> None:
    same = arms_of([_default(), finished(lora(4), accuracy=0.9)])
    assert not any("tokens" in arm.name for arm in same)
    differing = arms_of([_default(), _default(max_tokens=64)])
    assert sorted(arm.name[-10:].strip() for arm in differing) == ["128 tokens", "64 tokens"]
    assert {arm.settings[MAX_TOKENS] for arm in differing} == {64, 128}


def test_a_pretraining_is_named_by_its_budget_and_by_more_where_budgets_are_alike() -> None:
    def pretrained(**options: object) -> FinishedEncoderRun:
        return _default(pretrain=ContinuedOptions.model_validate({"epochs": 8, **options}).model_dump(mode="json"))

    def names(*records: FinishedEncoderRun) -> set[str]:
        return {arm.name.partition("pretrained ")[2] for arm in arms_of([_default(), *records])}

    fast = {"learning_rate": 1e-3}
    assert names(pretrained(**fast)) == {"", "8 epochs"}
    assert names(pretrained(**fast), pretrained(epochs=4)) == {"", "8 epochs", "4 epochs"}
    assert names(pretrained(**fast), pretrained()) == {"", "8 epochs, learning_rate 1e-3", "8 epochs"}


def test_another_reading_is_not_put_beside_the_thesis() -> None:
    def row(**encoder: object) -> thesis.Published | None:
        arm: Arm
        (arm,) = arms_of([_reading(_default(), **encoder)])
        return thesis.published_for(arm)

    assert row() is not None
    assert row(pooling="mean") is None
    assert row(long_text="windows") is None


def test_options_that_make_a_variant_are_shown_only_where_they_are_set() -> None:
    plain = finished(lora(4), accuracy=0.9)
    other_seed = finished(lora(4), accuracy=0.91, seed=1)
    (arm,) = arms_of([plain, other_seed])
    assert "method.dora" not in arm.settings
    dora = finished(lora(4) | {"dora": True, "rank_pattern": {"0-5": 2}}, accuracy=0.92)
    arms = arms_of([plain, other_seed, dora])
    shown = [
        (arm.settings["method.dora"], formats.setting(arm.settings["method.rank_pattern"], words=words_of("en")))
        for arm in arms
    ]
    assert sorted(shown) == [(False, "–"), (True, "0-5: 2")]
    assert all("method.rslora" not in arm.settings for arm in arms)


def test_variants_of_lora_have_names_of_their_own() -> None:
    variants: list[dict[str, object]] = [
        {},
        {"dora": True},
        {"rslora": True},
        {"initialization": "pissa"},
        {"dora": True, "rslora": True},
        {"pooler": True},
        {"lora_plus_ratio": 16.0},
        {"rank_pattern": {"0-5": 2}},
    ]
    nested = {"name": "lora-nested", "ranks": [2, 4], "dropout": 0.1, "targets": ["query", "value"]}
    arms = arms_of(
        [baseline(), finished(nested, accuracy=0.9), *(finished(lora(4, **one), accuracy=0.9) for one in variants)]
    )
    names = {arm.name for arm in arms}
    assert names == {
        "TF-IDF + SVM",
        "Nested LoRA",
        "LoRA",
        "LoRA, DoRA",
        "LoRA, rsLoRA",
        "LoRA, PiSSA",
        "LoRA, rsLoRA, DoRA",
        "LoRA, with the pooler",
        "LoRA, LoRA+ 16",
        "LoRA, ranks 0-5: 2",
    }
    ranked = [arm for arm in arms if arm.rank]
    labels = legend_names(ranked)
    assert len(set(labels)) == len(variants)
    assert {"LoRA", "LoRA, PiSSA", "LoRA, rsLoRA, DoRA"} <= set(labels)
    for language in LANGUAGES:
        words = words_of(language)
        assert len({page_name(arm, words=words) for arm in arms}) == len(arms)
        assert len({str(arm.short_name(words)) for arm in arms}) == len(arms)
        assert len(set(legend_names(ranked, words=words))) == len(variants)


def test_an_option_is_named_where_arms_of_the_method_differ_in_it() -> None:
    alone = arms_of([finished(lora(4, dora=True), accuracy=0.9), finished(lora(8, dora=True), accuracy=0.9)])
    assert [arm.name for arm in alone] == ["LoRA r=4", "LoRA r=8"]
    houlsby = finished({"name": "houlsby", "bottleneck": 16, "dropout": 0.0}, accuracy=0.9)
    dropouts = arms_of([*(finished(lora(4, dropout=rate), accuracy=0.9) for rate in (0.0, 0.1)), houlsby])
    assert sorted(arm.name for arm in dropouts) == [
        "Houlsby adapters",
        "LoRA, dropout 0",
        "LoRA, dropout 0.1",
    ]
