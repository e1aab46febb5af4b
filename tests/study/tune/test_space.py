"""Search spaces."""

from pathlib import Path

import pytest

from tanzaku.errors import SpecError
from tanzaku.methods import METHODS, EncoderMethod
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.spec import StudySpec, TrainingSpec
from tanzaku.study.tune.space import DEFAULT_SPACE, search_space
from tanzaku.study.tune_settings import Range, TuneSpec

_STUDY = """
name = "small"
[data]
source = "sample"
[encoder]
name = "an/encoder"
[training]
epochs = 2
[tune]
trials = 5
[tune.space]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
rank = { low = 2, high = 64, log = true }
targets = [["query"], ["query", "value"]]
[[arms]]
method = "tfidf-svm"
[[arms]]
method = "lora"
alpha = ["rank", 16]
dropout = 0.1
[[arms]]
method = "head"
learning_rate = 1e-3
"""


def _study(tmp_path: Path, *overrides: str, text: str = _STUDY) -> StudySpec:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return read_study(path, overrides=overrides, check_arms=False)


@pytest.mark.parametrize("where", ["the space", "an axis"])
def test_what_is_learned_after_the_training_is_not_searched(tmp_path: Path, where: str) -> None:
    arm = 'method = "lora+tfidf"\n'
    if where == "an axis":
        study = _study(tmp_path, text=_STUDY.replace('method = "lora"\n', f"{arm}max_terms = [10, 100]\n"))
    else:
        study = _study(tmp_path, "tune.space.max_terms=[10, 100]", text=_STUDY.replace('method = "lora"\n', arm))
    with pytest.raises(SpecError, match="tune: max_terms changes nothing in the training"):
        search_space(study)


def test_the_space_is_searched_with_the_arms_axes_and_the_rest_is_fixed(tmp_path: Path) -> None:
    space = search_space(_study(tmp_path))
    assert space.fixed == {"method": "lora", "dropout": 0.1}
    assert space.searched == {
        "alpha": ("rank", 16),
        "learning_rate": Range(low=1e-4, high=1e-2, log=True),
        "rank": Range(low=2, high=64, log=True),
        "targets": (["query"], ["query", "value"]),
    }
    point = {"alpha": 16, "learning_rate": 3e-4, "rank": 5, "targets": ["query"]}
    run = space.run(point, seed=9)
    assert run.seed == 9
    assert (run.training.learning_rate, run.training.epochs) == (3e-4, 2)
    expected = {"rank": 5, "alpha": 16.0, "dropout": 0.1, "targets": ("query",)}
    assert run.method.model_dump(include=set(expected)) == expected


def test_the_corners_have_every_value_and_both_ends(tmp_path: Path) -> None:
    runs = [run.model_dump() for run in search_space(_study(tmp_path)).corners(seed=1)]
    assert len(runs) == 1 + 5
    rates = sorted({run["training"]["learning_rate"] for run in runs})
    assert (len(rates), rates[0], rates[-1]) == (3, 1e-4, 1e-2)
    assert {run["method"]["rank"] for run in runs} == {2, 64}
    assert {run["method"]["alpha"] for run in runs} == {"rank", 16.0}
    assert {tuple(run["method"]["targets"]) for run in runs} == {("query",), ("query", "value")}


def test_a_range_that_is_not_of_whole_numbers_is_refused_where_a_setting_is(tmp_path: Path) -> None:
    space = search_space(_study(tmp_path, "tune.space={epochs={low=2, high=1e1}, learning_rate=[1e-3]}"))
    with pytest.raises(SpecError, match=r"epochs = 4\.5.*integer"):
        space.corners(seed=1)
    for ends in ("low=nan, high=1", "low=1e-3, high=inf"):
        with pytest.raises(SpecError, match="finite"):
            _study(tmp_path, f"tune.space={{learning_rate={{{ends}}}}}")


@pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if issubclass(kind, EncoderMethod)])
def test_the_default_space_has_what_the_method_has_and_every_corner_is_a_run(tmp_path: Path, method: str) -> None:
    text = _STUDY.partition("[tune]")[0] + f'[[arms]]\nmethod = "{method}"\n'
    space = search_space(_study(tmp_path, text=text))
    kind = METHODS[method]
    assert issubclass(kind, EncoderMethod)
    assert set(space.searched) == set(DEFAULT_SPACE) & {*kind.model_fields, *TrainingSpec.model_fields}
    assert len(space.corners(seed=1)) > len(space.searched)


def test_what_the_study_says_wins_over_the_default_space(tmp_path: Path) -> None:
    text = (
        _STUDY.partition("[tune]")[0] + '[[arms]]\nmethod = "lora"\nrank = [2, 256]\nalpha = 32\ntargets = ["query"]\n'
    )
    space = search_space(_study(tmp_path, "training.schedule=wsd", text=text))
    assert space.fixed == {"method": "lora", "alpha": 32, "targets": ["query"]}
    default = {name: DEFAULT_SPACE[name] for name in ("learning_rate", "warmup")}
    assert space.searched == {"rank": (2, 256)} | default
    for run in space.corners(seed=1):
        assert run.training.schedule == "wsd"


def test_a_recipe_leaves_the_default_space_as_it_is(tmp_path: Path) -> None:
    text = 'recipe = "thesis"\n' + _STUDY.partition("[tune]")[0] + '[[arms]]\nmethod = "lora"\n'
    assert search_space(_study(tmp_path, text=text)).searched == DEFAULT_SPACE


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("tune.arm=0", r"tune: arm = 0: tfidf-svm adapts no encoder"),
        ("tune.arm=3", r"tune: arm = 3: the study has the arms 0 to 2"),
        ("tune.space.ranks=[1]", r"tune\.space: lora has no setting 'ranks'; it has alpha, .*rank"),
        ("tune.space.rank=[]", r"tune\.space = .*rank: .*; give a list of values or a range such as"),
        ("tune.space.rank=4", r"tune\.space = .*rank: .*; give a list of values or a range such as"),
        ("tune.space.rank={lo=1, high=2}", "rank: low: Field required"),
        ("tune.space.rank={low=1, high=2, step=3}", "rank: step: Extra inputs are not permitted"),
        ("tune.space.rank={low=4, high=2}", "low must be smaller than high"),
        ("tune.space.rank={low=0, high=2, log=true}", "with log greater than 0"),
        ("tune.space.rank={low=0, high=2}", r"tune of arms\.1 \(lora\): rank = 0"),
        ("tune.space.rank=[[4, 8], 16]", r"tune\.space\.rank: \[4, 8\] is a list where one value belongs; write"),
        ("tune.space.rank=[16, [4]]", r"tune\.space\.rank: \[4\] is a list where one value belongs"),
        ("tune.space.schedule=[['linear', 'wsd']]", r"tune\.space\.schedule: .* is a list where one value belongs"),
        ("tune.space.targets=[[['query'], ['value']]]", r"tune\.space\.targets: .* is a list where one value belongs"),
        ("arms.1.alpha=[[8, 16]]", r"arms\.1\.alpha: \[8, 16\] is a list where one value belongs"),
        ("tune.space.schedule=['linear', 'step']", r"tune of arms\.1 \(lora\): training: schedule = 'step'"),
        ("tune={arm=2, space={}}", r"tune: arms\.2 \(head\) has nothing to search; name it in \[tune\.space\]"),
        ("tune.trials=0", r"tune\.trials = 0"),
        ("training.epoch=3", "toml: training: unknown key 'epoch'; did you mean 'epochs'"),
        ("tune.pruner=worst", r"tune\.pruner = 'worst': .*'median', 'hyperband' or 'none'"),
        ("tune.trial=3", r"unknown key 'tune\.trial'; did you mean 'trials'\? it takes arm, space, objective, trials"),
        ("tune={arm=2, space={head_learning_rate=[0.1]}}", "head has no setting 'head_learning_rate'"),
    ],
)
def test_what_is_wrong_is_named_before_anything_starts(tmp_path: Path, override: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        search_space(_study(tmp_path, override)).corners(seed=1)


def test_a_study_without_an_encoder_has_nothing_to_tune(tmp_path: Path) -> None:
    text = 'name = "a"\n[data]\nsource = "sample"\n[[arms]]\nmethod = "tfidf-svm"\n'
    with pytest.raises(SpecError, match="no arm of the study adapts an encoder"):
        search_space(_study(tmp_path, text=text))


def test_tune_changes_no_run_of_the_study(tmp_path: Path) -> None:
    told = _study(tmp_path, "arms.1.learning_rate=1e-3")
    assert told.tune == TuneSpec(trials=5, space=told.tune.space if told.tune else None)
    assert expand(told) == expand(told.model_copy(update={"tune": None}))
