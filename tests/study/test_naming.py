"""What arms are called in tables, legends and folders."""

from __future__ import annotations

import re
from gettext import NullTranslations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tanzaku.display import number
from tanzaku.methods import METHODS, TextMethod
from tanzaku.study.folders import RunFolders
from tanzaku.study.naming import Namer, arms_of_runs
from tanzaku.study.spec import RUN_SPEC, RunSpec
from tanzaku.words import Words, words_of

_BASE: dict[str, Any] = {
    "data": {"source": "sample"},
    "seed": 1,
}


def _run(method: str = "lora", *, encoder: dict[str, Any] | None = None, **settings: Any) -> RunSpec:
    """A run; settings that are not options of the method are of training."""
    if issubclass(METHODS[method], TextMethod):
        return RUN_SPEC.validate_python({**_BASE, "kind": "text", "method": {"name": method}})
    options = {name: value for name, value in settings.items() if name in METHODS[method].model_fields}
    training = {name: value for name, value in settings.items() if name not in options}
    return RUN_SPEC.validate_python(
        {
            **_BASE,
            "kind": "encoder",
            "method": {"name": method, **options},
            "training": {"learning_rate": 5e-4, **training},
            "encoder": {"name": "an/encoder", **(encoder or {})},
        }
    )


def _full(*runs: RunSpec) -> list[str]:
    arms = arms_of_runs(runs)
    return [str(Namer(arms).full(arm)) for arm in arms]


def _short(*runs: RunSpec) -> list[str]:
    arms = arms_of_runs(runs)
    return [str(Namer(arms).short(arm)) for arm in arms]


def _folders(*runs: RunSpec) -> list[str]:
    arms = arms_of_runs(runs)
    return [Namer(arms).folder(arm) for arm in arms]


def test_the_only_arm_of_a_method_has_the_methods_name() -> None:
    recipe = {"head_learning_rate": 2e-3, "embeddings_learning_rate": 2e-3, "epochs": 8}
    runs = [_run("tfidf-svm"), _run("full", learning_rate=1e-4, encoder={"pooling": "mean+max"}, **recipe)]
    assert _full(*runs) == ["TF-IDF + SVM", "Full fine-tuning"]
    assert _short(*runs) == ["TF-IDF", "Full"]
    assert _folders(*runs) == ["tfidf-svm", "full"]


def test_names_have_the_settings_in_which_the_methods_arms_differ() -> None:
    runs = [_run(rank=rank, learning_rate=rate) for rank in (4, 8) for rate in (1e-4, 2e-3)]
    assert _full(*runs, _run("full", learning_rate=5e-5)) == [
        "LoRA r=4, lr 1e-4",
        "LoRA r=4, lr 2e-3",
        "LoRA r=8, lr 1e-4",
        "LoRA r=8, lr 2e-3",
        "Full fine-tuning",
    ]
    assert _folders(*runs)[1] == "lora-r4-lr2e-3"


def test_layers_are_named_in_both_languages() -> None:
    arms = arms_of_runs([_run(targets="qv"), _run(targets=["query", "key"])])
    assert [str(Namer(arms).full(arm)) for arm in arms] == ["LoRA, targets qv", "LoRA, targets query+key"]
    assert str(Namer(arms).full(arms[0], words=words_of("ja"))) == "LoRA, 適用する層 qv"


def test_a_switch_that_is_off_goes_without_saying() -> None:
    runs = [_run(), _run(dora=True), _run(dora=True, rslora=True), _run(initialization="pissa")]
    assert _full(*runs) == ["LoRA", "LoRA, DoRA", "LoRA, rsLoRA, DoRA", "LoRA, PiSSA"]
    assert _folders(*runs) == ["lora", "lora-dora", "lora-rslora-dora", "lora-pissa"]


def test_a_schedules_settings_are_in_the_names_of_its_arms_only() -> None:
    runs = [_run(), _run(schedule="wsd", decay=0.1), _run(schedule="wsd", decay=0.3)]
    assert _full(*runs) == ["LoRA, linear", "LoRA, wsd, decay 0.1", "LoRA, wsd, decay 0.3"]


def test_of_many_settings_names_have_those_that_distinguish_the_arms() -> None:
    ours: dict[str, Any] = {"learning_rate": 1.7e-3, "epochs": 4, "warmup": 0.1, "dropout": 0.0}
    thesis: dict[str, Any] = {"learning_rate": 5e-4, "epochs": 5, "warmup": 0.0, "dropout": 0.1}
    runs = [_run(rank=8, **ours), _run(rank=8, **thesis), _run(rank=16, **thesis)]
    assert _full(*runs) == ["LoRA r=8, lr 1.7e-3", "LoRA r=8, lr 5e-4", "LoRA r=16, lr 5e-4"]


def test_a_short_name_has_only_what_it_takes() -> None:
    runs = [_run(rank=4, learning_rate=1e-3), _run(rank=8, learning_rate=5e-4)]
    assert _full(*runs) == ["LoRA r=4, lr 1e-3", "LoRA r=8, lr 5e-4"]
    assert _short(*runs) == ["LoRA r=4", "LoRA r=8"]


def test_counts_are_in_the_singular_and_in_the_plural() -> None:
    assert _full(_run(epochs=1), _run(epochs=8)) == ["LoRA, 1 epoch", "LoRA, 8 epochs"]


def test_numbers_that_nearly_agree_have_more_digits() -> None:
    assert _full(_run(learning_rate=1.23e-4), _run(learning_rate=1.231e-4)) == ["LoRA, lr 1.23e-4", "LoRA, lr 1.231e-4"]
    assert _full(_run(alpha=11.313708), _run(alpha="rank")) == ["LoRA, α = 11.3", "LoRA, α = r"]


def test_a_pretraining_is_named_by_its_budget_and_by_more_where_budgets_are_alike() -> None:
    def pretrained(**options: object) -> RunSpec:
        return _run(encoder={"pretrain": {"epochs": 8, **options}})

    assert _full(_run(), pretrained()) == ["LoRA", "LoRA, pretrained 8 epochs"]
    assert _full(pretrained(), pretrained(learning_rate=1e-3)) == [
        "LoRA, pretrained 8 epochs",
        "LoRA, pretrained 8 epochs, learning_rate 1e-3",
    ]


def test_a_teacher_is_named_by_its_folder_and_by_its_path_where_folders_are_alike() -> None:
    def distilled(teacher: str, **more: Any) -> RunSpec:
        return _run(distill={"teacher": teacher, **more})

    assert _full(distilled("a/large"), distilled("b/small")) == [
        "LoRA, distilled from large",
        "LoRA, distilled from small",
    ]
    alike = [distilled("a/bundle"), distilled("b/bundle")]
    assert _full(*alike) == ["LoRA, distilled from a/bundle", "LoRA, distilled from b/bundle"]
    texts = [distilled("large", texts="old/t.txt"), distilled("large", texts="new/t.txt")]
    assert _full(*texts) == ["LoRA, distilled from large and old/t.txt", "LoRA, distilled from large and new/t.txt"]


def test_other_languages_are_asked_for_each_part() -> None:
    class Shouting(Words):
        def text(self, message: str, **values: object) -> str:
            return message.format(**values).upper()

        def plural(self, singular: str, plural: str, n: int, **values: object) -> str:
            return f"{n}!"

    arms = arms_of_runs([_run(epochs=1, learning_rate=1e-3), _run(epochs=2), _run("full")])
    assert [str(Namer(arms).full(arm, words=Shouting("ja", NullTranslations()))) for arm in arms] == [
        "LoRA, LR 1E-3, 1!",
        "LoRA, LR 5E-4, 2!",
        "フルファインチューニング",
    ]


def test_legends_have_short_names_of_methods() -> None:
    # A legend has four columns in 8 cm.
    assert max(len(name) for method in METHODS for name in _short(_run(method))) <= 12


def test_a_method_of_another_package_has_the_name_it_is_registered_under() -> None:
    arms = [{"method.name": "mine", "method.some_width": width} for width in (8, 16)]
    namer = Namer(arms)
    assert [str(namer.full(arm)) for arm in arms] == ["mine, some width 8", "mine, some width 16"]
    assert [namer.folder(arm) for arm in arms] == ["mine-somewidth8", "mine-somewidth16"]


def test_a_run_stays_in_the_folder_that_has_its_identity(tmp_path: Path) -> None:
    identity = "0123456789abcdef"
    folder = RunFolders(tmp_path / "none yet").of(_run(), name="lora", identity=identity)
    assert folder == tmp_path / "none yet" / "lora-s1-0123456789"
    for name in ("lora-s1-0123456789", "longer-s1-0123456789", "lora-s2-9876543210", "notes.txt"):
        (tmp_path / name).mkdir()
    folders = RunFolders(tmp_path)
    assert folders.of(_run(), name="lora-r8", identity=identity) == tmp_path / "longer-s1-0123456789"
    assert folders.of(_run(), name="lora-r8", identity="9" * 64) == tmp_path / "lora-r8-s1-9999999999"
    assert folders.of(_run("tfidf-svm"), name="tfidf-svm", identity="9" * 64).name == "tfidf-svm-9999999999"


_RATES = st.sampled_from([1e-5, 1e-4, 1.01e-4, 1.0100001e-4, 2e-3, 0.01, 0.1]) | st.floats(1e-7, 1.0)
_ARMS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "rank": st.integers(1, 512),
        "alpha": st.just("rank") | _RATES,
        "dropout": st.sampled_from([0.0, 0.1]),
        "targets": st.sampled_from([["qv"], ["query", "value"], ["all-linear"]]),
        "dora": st.booleans(),
        "rslora": st.booleans(),
        "initialization": st.sampled_from(["random", "pissa"]),
        "lora_plus_ratio": st.sampled_from([1.0, 16.0]),
        "rank_pattern": st.sampled_from([{}, {"0": 1}, {"0": 1, "1": 2}]),
        "learning_rate": _RATES,
        "head_learning_rate": st.none() | _RATES,
        "schedule": st.sampled_from(["linear", "cosine", "wsd", "plateau"]),
        "decay": st.sampled_from([0.1, 0.2]),
        "plateau_patience": st.integers(0, 2),
        "epochs": st.integers(1, 3),
        "patience": st.none() | st.integers(1, 2),
        "fast": st.booleans(),
        "hidden_dropout": st.just("encoder") | st.sampled_from([0.0, 0.1]),
        "encoder": st.fixed_dictionaries(
            {},
            optional={
                "pooling": st.sampled_from(["cls", "mean", "mean+max"]),
                "long_text": st.sampled_from(["head", "head+tail", "windows"]),
                "max_windows": st.none() | st.integers(1, 3),
                "pretrain": st.sampled_from([None, {"epochs": 1}, {"epochs": 1, "learning_rate": 1e-3}]),
            },
        ),
    },
)


def _studies() -> st.SearchStrategy[list[RunSpec]]:
    runs = st.lists(_ARMS.map(lambda arm: _run(**arm)), min_size=1, max_size=12)
    return runs.map(lambda study: list({run.model_dump_json(): run for run in study}.values()))


@settings(deadline=None)  # a busy machine is no failure
@given(_studies())
def test_arms_with_other_settings_have_other_names(study: list[RunSpec]) -> None:
    assert len(set(_full(*study))) == len(study)
    assert len(set(_short(*study))) == len(study)


@settings(deadline=None)
@given(_studies(), _RATES, st.integers(1, 64))
def test_a_setting_that_a_methods_arms_share_is_in_no_name(study: list[RunSpec], rate: float, batch: int) -> None:
    """What they share may change without a change of any name."""
    changed = [
        RUN_SPEC.validate_python(
            {
                **run.model_dump(mode="json"),
                "training": {**run.model_dump(mode="json")["training"], "batch_size": batch, "weight_decay": rate},
            }
        )
        for run in study
    ]
    other = _run("full", learning_rate=rate, batch_size=batch + 1)
    assert _full(*changed, other)[:-1] == _full(*study)
    assert _short(*changed, other)[:-1] == _short(*study)
    assert _folders(*changed, other)[:-1] == _folders(*study)


@settings(deadline=None)
@given(_ARMS, _studies())
def test_an_arm_among_those_of_other_methods_has_its_methods_name(arm: dict[str, Any], study: list[RunSpec]) -> None:
    allowed = {name: value for name, value in arm.items() if name not in METHODS["lora"].model_fields}
    assert _full(*study, _run("full", **allowed))[-1] == "Full fine-tuning"
    assert _short(*study, _run("full", **allowed))[-1] == "Full"


@settings(deadline=None)
@given(_studies(), st.integers(0, 2**32 - 1))
def test_a_folders_name_is_short_and_safe_on_every_system(study: list[RunSpec], seed: int) -> None:
    for name in _folders(*study):
        run = _run().model_copy(update={"seed": seed})
        folder = RunFolders(Path("runs")).of(run, name=name, identity="0" * 64).name
        assert re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", folder)
        assert len(folder) <= 74


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1e-4, "1e-4"),
        (5e-4, "5e-4"),
        (2e-3, "2e-3"),
        (2.5e-4, "2.5e-4"),
        (1.7e-3, "1.7e-3"),
        (0.0, "0"),
        (0.01, "0.01"),
        (0.1, "0.1"),
        (8, "8"),
        (8192.0, "8192"),
        (1_000_000, "1000000"),
        (11.313708, "11.3137"),
        (-1e-3, "-1e-3"),
    ],
)
def test_numbers_are_written_in_one_way(value: float, written: str) -> None:
    assert number(value) == written


@settings(deadline=None)
@given(st.floats(min_value=1e-12, max_value=1e12))
def test_a_number_reads_back(value: float) -> None:
    assert float(number(value)) == pytest.approx(value, rel=1e-5)
    assert float(number(value, digits=17)) == value
