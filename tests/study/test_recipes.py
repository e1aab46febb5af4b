"""Recipes fill in what a study does not say, and nothing else."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tanzaku.methods import METHODS
from tanzaku.study.encoder_spec import ENCODER_SETTINGS
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.recipes import RECIPE_NAMES, RECIPES
from tanzaku.study.record import FinishedEncoderRun
from tanzaku.study.runs import read_records
from tanzaku.study.spec import EncoderRunSpec, RunSpec, StudySpec, TrainingSpec
from tests.kinds import of_encoders

STUDIES = Path(__file__).parents[2] / "studies"


def _expanded(**content: Any) -> list[RunSpec]:
    content = {"name": "filled", "data": {"source": "d"}, "encoder": {"name": "e"}} | content
    return expand(StudySpec.model_validate(content))


def test_the_thesis_recipe_gives_the_runs_of_the_thesis_study() -> None:
    study = read_study(STUDIES / "thesis-table-3.2.toml")
    ranks = [2, 4, 8, 32, 64, 128, 256]
    filled = _expanded(
        seeds=study.seeds,
        recipe="thesis",
        data=study.data,
        encoder={"name": "tohoku-nlp/bert-base-japanese"},
        arms=[{"method": "tfidf-svm"}, {"method": "full"}, {"method": "lora", "rank": ranks}],
    )
    assert filled == expand(study)


def test_what_is_said_comes_before_the_recipe_and_the_recipe_before_the_defaults() -> None:
    training = {"epochs": 4, "patience": 7}
    arm = {"method": "lora", "rank": 2, "patience": 1, "pooling": "mean"}
    (run,) = _expanded(recipe="thesis", encoder={"name": "e", "max_tokens": 64}, training=training, arms=[arm])
    assert isinstance(run, EncoderRunSpec)
    told = run.training
    assert (told.patience, told.epochs, told.learning_rate, told.threshold) == (1, 4, 5e-4, 0.005)
    assert (told.beta1, told.log_steps) == (0.9, 10)
    assert (run.encoder.pooling, run.encoder.max_tokens) == ("mean", 64)
    assert run.method.model_dump()["rank"] == 2
    assert run.method.model_dump()["dropout"] == 0.1


def test_an_arm_has_a_recipe_of_its_own_and_recipes_may_be_an_axis() -> None:
    default = RECIPES["default"].methods["lora"]
    arms = [
        {"method": "lora"},
        {"method": "lora", "recipe": ["thesis", "default"], "rank": default["rank"]},
        {"method": "full", "recipe": "none", "learning_rate": 1e-4},
    ]
    runs = of_encoders(_expanded(recipe="default", arms=arms))
    # The second arm's second run is the first arm's.
    rates = [run.training.learning_rate for run in runs]
    assert rates == [default["learning_rate"], 5e-4, 1e-4]
    assert runs[2].training == TrainingSpec(learning_rate=1e-4)


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_run_is_the_same_whether_a_recipe_says_it_or_the_study(name: str) -> None:
    for method in RECIPES[name].methods:
        (filled,) = _expanded(recipe=name, arms=[{"method": method}])
        (spoken,) = _expanded(arms=[{"method": method, **RECIPES[name].settings(method)}])
        assert filled == spoken
        assert "recipe" not in filled.model_dump(mode="json")


def test_recipes_name_only_what_there_is() -> None:
    assert set(RECIPES) == set(RECIPE_NAMES)
    for recipe in RECIPES.values():
        assert set(recipe.shared) <= set(TrainingSpec.model_fields) | set(ENCODER_SETTINGS)
        for method, settings in recipe.methods.items():
            known = set(METHODS[method].model_fields) | set(TrainingSpec.model_fields) | set(ENCODER_SETTINGS)
            assert set(settings) <= known


def test_a_method_without_an_encoder_is_as_it_was() -> None:
    arms = [{"method": "tfidf-svm"}]
    assert _expanded(recipe="default", arms=arms) == _expanded(arms=arms)


def test_the_default_rates_are_the_best_of_the_search() -> None:
    """By the mean validation accuracy over the tasks that studies/recipe.toml was made on; also the head's epochs."""
    accuracies: dict[tuple[str, int | None], dict[tuple[float, int], list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for folder in sorted((STUDIES.parent / "records").glob("recipe-*")):
        for record in read_records(folder):
            assert isinstance(record, FinishedEncoderRun)
            arm = record.method, record.spec["method"].get("rank")
            training = record.spec["training"]
            accuracies[arm][training["learning_rate"], training["epochs"]].append(record.val.accuracy)
    best = {}
    for arm, tried in accuracies.items():
        assert {len(values) for values in tried.values()} == {3}
        best[arm] = max(tried, key=lambda settings: sum(tried[settings]))
    methods = RECIPES["default"].methods
    assert methods["full"]["learning_rate"] == best["full", None][0]
    assert (methods["head"]["learning_rate"], methods["head"]["epochs"]) == best["head", None]
    for name in ("lora", "lora+tfidf"):
        assert methods[name]["learning_rate"] == best["lora", methods[name]["rank"]][0]
    means = {rank: max(map(sum, accuracies["lora", rank].values())) for rank in (2, 8)}
    assert methods["lora"]["rank"] == max(means, key=lambda rank: means[rank])
