"""Study files: what they may say, and the runs that follow."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tanzaku.errors import SpecError
from tanzaku.methods import METHODS
from tanzaku.methods.lora import Lora
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.expansion import expand, read_study
from tanzaku.study.record import FinishedEncoderRun
from tanzaku.study.runs import read_records
from tanzaku.study.spec import (
    RUN_SPEC,
    SEED_OF_DETERMINISTIC,
    DataSpec,
    EncoderRunSpec,
    StudySpec,
    TextRunSpec,
    TrainingSpec,
)
from tests.kinds import of_encoders

STUDIES = Path(__file__).parents[2] / "studies"
PAGE = Path(__file__).parents[2] / "docs" / "studies.md"

_STUDY = """
name = "small"
seeds = [1, 2]
[data]
source = "sample"
[encoder]
name = "an/encoder"
[training]
epochs = 2
[[arms]]
method = "tfidf-svm"
[[arms]]
method = "lora"
rank = [2, 4]
targets = [["query"], ["query", "value"]]
learning_rate = [5e-4, 5e-5]
patience = 3
[[arms]]
method = "full"
learning_rate = 5e-5
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(_STUDY, encoding="utf-8")
    return path


def test_the_grid_is_complete_and_in_order(study_file: Path) -> None:
    runs = expand(read_study(study_file))
    assert len(runs) == 1 + 2 * (2 * 2 * 2 + 1)
    assert [run.seed for run in runs] == [SEED_OF_DETERMINISTIC] + [1] * 9 + [2] * 9
    assert [run.method_name for run in runs[:10]] == ["tfidf-svm", *["lora"] * 8, "full"]
    assert [run.method.model_dump()["rank"] for run in runs[1:9]] == [2] * 4 + [4] * 4
    assert all(run.training.epochs == 2 for run in of_encoders(runs))
    assert {run.training.patience for run in of_encoders(runs)} == {3, None}
    assert isinstance(runs[0], TextRunSpec)


def test_a_run_given_twice_is_made_once(study_file: Path) -> None:
    once = expand(read_study(study_file))
    assert len(expand(read_study(study_file, overrides=["seeds=[1,2,1]", "arms.1.rank=[2,4,2]"]))) == len(once)


def test_a_resolved_run_survives_json(study_file: Path) -> None:
    for run in expand(read_study(study_file)):
        assert RUN_SPEC.validate_json(run.model_dump_json()) == run


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("arms.1.rank=0", r"arms\.1 \(lora\): rank = 0: .*greater than or equal to 1"),
        ("arms.1={method='lora', rank=0, truncate=[2]}", r"toml: arms\.1 \(lora\): rank = 0: Input should be [^\n]*$"),
        ("arms.1={method='adalora', rank=0}", r"toml: arms\.1 \(adalora\): rank = 0: Input should be [^\n]*$"),
        ("arms.1.alpha=-1", r"arms\.1 \(lora\): alpha"),
        pytest.param(f"seeds={'[' * 5000}", r"--set seeds=\[+…: the value can't be read", id="brackets"),
        pytest.param(f"seeds={'1' * 5000}", r"--set seeds=1+…: the value can't be read", id="digits"),
        pytest.param(f"arms.{'1' * 5000}.rank=1", r"is not a place in the list; it takes 0 to 2", id="place"),
        ("arms.1.rank=[]", "rank is an empty list"),
        (
            "arms.1.ranks=2",
            r"unknown option 'ranks'; did you mean 'rank'\? it takes alpha, .*batch_size.*rank.*weight_decay",
        ),
        ("arms.0.rank=2", r"\(tfidf-svm\): unknown option 'rank'; it takes analyzer, longest_ngram, max_terms"),
        ("arms.0.method=lorra", r"there is no method 'lorra'; choose one of full, head, lora, .*tfidf-svm"),
        ("arms.2.learning_rate=0", "learning_rate = 0: .*greater than 0"),
        ("arms.2.lora_plus_ratio=16", r"arms\.2 \(full\): unknown option 'lora_plus_ratio'"),
        (
            "arms.2={method='head', learning_rate=1e-3, head_learning_rate=1e-2}",
            r"arms\.2 \(head\): head_learning_rate does nothing for this method; leave it out",
        ),
        ("arms.1.alpha=-1", r"arms\.1 \(lora\): alpha = -1: .*'rank' or .*greater than 0$"),
        ("training.hidden_dropout=1.5", r"training: hidden_dropout = 1\.5: .*'encoder' or .*less than 1$"),
        ("training.schedule=step", "schedule = 'step': .*'linear', 'cosine', 'constant', 'wsd' or 'plateau'"),
        (
            "arms.2={method='full', learning_rate=1e-4, schedule='wsd', warmup=0.9}",
            "warmup = 0.9 and decay = 0.2",
        ),
        ("training.epochs=few", "epochs = 'few'"),
        (
            "encoder.max_token=3",
            r"toml: encoder: unknown key 'max_token'; did you mean 'max_tokens'\? "
            "it takes name, revision, max_tokens, pooling, long_text",
        ),
        ("encoder.pooling=max", r"encoder: pooling = 'max': .*'cls', 'mean' or 'mean\+max'"),
        (
            "arms.1.long_text=tail",
            r"arms\.1 \(lora\): encoder: long_text = 'tail': .*'head', 'head\+tail' or 'windows'",
        ),
        ("arms.1.max_windows=0", r"arms\.1 \(lora\): encoder: max_windows = 0"),
        ("recipe=best", "recipe = 'best': .*'none', 'thesis' or 'default'"),
        ("arms.1.recipe=best", r"arms\.1 \(lora\): there is no recipe 'best'; choose one of none, thesis, default"),
        ("arms.1.name=other", r"arms\.1 \(lora\): unknown option 'name'"),
        ("arms.0.pooling=mean", r"arms\.0 \(tfidf-svm\): unknown option 'pooling'"),
        ("training.learning_rates=1", r"toml: training: unknown key 'learning_rates'; did you mean 'learning_rate'\?"),
        ("seeds=[]", "seeds"),
        ("seeds=[-1]", r"seeds\.0 = -1"),
        ("name=../x", "name = '../x'"),
        ("nope=1", "unknown key 'nope'"),
        ("float=1", "unknown key 'float'"),
        ("training.int.x=1", "training: unknown key 'int'"),
        ("arms.9.rank=1", r"'9' is not a place in the list; it takes 0 to 2"),
        ("epochs", "give key=value"),
        ("name.x=1", "name is 'small', which holds no further keys"),
        ("seeds.0.x=1", "0 is 1, which holds no further keys"),
        (
            "arms.1.method=['lora','full']",
            r"method = \['lora', 'full'\] is not one method's name; write an arm for each",
        ),
        ("training.max_grad_norm=inf", r"training: max_grad_norm = inf: .*finite"),
        ("arms.1.alpha=nan", r"arms\.1 \(lora\): alpha = nan"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_the_choices(study_file: Path, override: str, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        read_study(study_file, overrides=[override])


def test_a_shared_rate_of_the_head_is_not_the_head_methods(study_file: Path) -> None:
    overrides = ["training.head_learning_rate=1e-2", "arms.0={method='head', learning_rate=1e-3}"]
    runs = of_encoders(expand(read_study(study_file, overrides=overrides)))
    rates = {run.method_name: run.training.head_learning_rate for run in runs}
    assert rates == {"head": None, "lora": 1e-2, "full": 1e-2}


def test_the_embeddings_rate_is_of_methods_that_train_them(study_file: Path) -> None:
    overrides = ["training.embeddings_learning_rate=1e-2", "arms.0={method='bitfit', learning_rate=1e-3}"]
    runs = of_encoders(expand(read_study(study_file, overrides=overrides)))
    rates = {run.method_name: run.training.embeddings_learning_rate for run in runs}
    assert rates == {"bitfit": None, "lora": None, "full": 1e-2}
    targets = [*overrides, "arms.1.targets=[['qv'], ['qv', 'embeddings']]", "arms.1.rank=2"]
    runs = [run for run in of_encoders(expand(read_study(study_file, overrides=targets))) if run.method_name == "lora"]
    assert {run.training.embeddings_learning_rate for run in runs} == {None, 1e-2}
    arm = "arms.0={method='bitfit', learning_rate=1e-3, embeddings_learning_rate=1e-2}"
    with pytest.raises(SpecError, match=r"\(bitfit\): embeddings_learning_rate does nothing for this method"):
        read_study(study_file, overrides=[arm])


def test_a_missing_learning_rate_is_an_error(study_file: Path) -> None:
    study_file.write_text(_STUDY.replace("learning_rate = 5e-5", ""), encoding="utf-8")
    with pytest.raises(SpecError, match=r"arms\.2 \(full\): training: learning_rate is missing; .*recipe = .default."):
        read_study(study_file)


def test_an_encoder_method_needs_an_encoder(study_file: Path) -> None:
    study_file.write_text(_STUDY.replace('[encoder]\nname = "an/encoder"', ""), encoding="utf-8")
    with pytest.raises(SpecError, match=r"the study has no \[encoder\]"):
        read_study(study_file)


def test_all_that_is_wrong_in_a_study_is_said_at_once(study_file: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_study(study_file, overrides=["seeds=[-1]", "recipe=none-such", "nonsense=1"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    for name, line in zip(("seeds.0 = -1", "recipe = 'none-such'", "unknown key 'nonsense'"), lines, strict=True):
        assert name in line


def test_a_byte_order_mark_is_no_part_of_a_study_or_an_override(study_file: Path) -> None:
    study_file.write_bytes(b"\xef\xbb\xbf" + study_file.read_bytes())
    assert read_study(study_file, overrides=["\ufeffname=other"]).name == "other"
    with pytest.raises(SpecError, match="is not valid UTF-8"):
        read_study(study_file, overrides=["name=\udc8a"])


def test_a_file_that_is_missing_or_no_toml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="can't be read"):
        read_study(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text('description = "海に船がある"', encoding="cp932")
    with pytest.raises(SpecError, match=r"bad\.toml, line 1: .* not valid utf-8. The text reads as cp932: save it as"):
        read_study(tmp_path / "bad.toml")
    (tmp_path / "bad.toml").write_text("name = ", encoding="utf-8")
    with pytest.raises(SpecError, match="is not valid TOML"):
        read_study(tmp_path / "bad.toml")


def _run(**changes: object) -> EncoderRunSpec:
    content: dict[str, object] = {
        "data": {"source": "a"},
        "encoder": {"name": "e"},
        "method": {"name": "lora", "rank": 4},
        "training": {"learning_rate": 5e-4},
        "seed": 1,
    }
    return EncoderRunSpec.model_validate(content | changes)


def test_an_arm_sets_how_documents_are_read(study_file: Path) -> None:
    overrides = [
        "encoder.max_tokens=64",
        'arms.1={method="lora", rank=2, learning_rate=5e-4, pooling=["cls","mean"], long_text=["head","windows"], '
        "max_tokens=[32,64], max_windows=4}",
    ]
    runs = [run for run in of_encoders(expand(read_study(study_file, overrides=overrides))) if run.seed == 1]
    read = [
        (run.method_name, run.encoder.max_tokens, run.encoder.pooling, run.encoder.long_text, run.encoder.max_windows)
        for run in runs
    ]
    lora = [(32, "cls", "head", None), (64, "cls", "head", None), (32, "cls", "windows", 4), (64, "cls", "windows", 4)]
    assert read == [
        *(("lora", *one) for one in lora),
        *(("lora", tokens, "mean", way, most) for tokens, _, way, most in lora),
        ("full", 64, "cls", "head", None),
    ]
    assert {run.encoder.name for run in runs} == {"an/encoder"}


def test_the_names_of_the_committed_runs_have_their_identities() -> None:
    records = read_records(Path(__file__).parents[2] / "records")
    assert len(records) > 200
    for record in records:
        spec, data = RUN_SPEC.validate_python(record.spec), record.data.fingerprint
        if isinstance(spec, TextRunSpec):
            assert record.run_id.endswith(spec.identity(data_fingerprint=data)[:10])
        else:
            assert isinstance(record, FinishedEncoderRun)
            fingerprint = record.encoder.fingerprint
            identity = spec.identity(data_fingerprint=data, encoder_fingerprint=fingerprint)
            assert record.run_id.endswith(identity[:10])


def _identity(run: EncoderRunSpec, data: str = "d", encoder: str = "e") -> str:
    return run.identity(data_fingerprint=data, encoder_fingerprint=encoder)


def test_identity_follows_what_the_result_depends_on() -> None:
    base = _identity(_run())
    assert base == _identity(_run(data={"source": "elsewhere"}))
    assert base == _identity(_run(encoder={"name": "the same under another name"}))
    assert base == _identity(_run(training={"learning_rate": 5e-4, "checkpoint_minutes": 1}))
    assert base == _identity(_run(encoder={"name": "e", "max_windows": 3}))
    assert base == _identity(_run(training={"learning_rate": 5e-4, "decay": 0.3, "plateau_patience": 7}))
    others = [
        _identity(_run(), data="other"),
        _identity(_run(), encoder="other"),
        _identity(_run(seed=2)),
        _identity(_run(encoder={"name": "e", "max_tokens": 64})),
        _identity(_run(encoder={"name": "e", "pooling": "mean"})),
        _identity(_run(encoder={"name": "e", "long_text": "head+tail"})),
        _identity(_run(encoder={"name": "e", "long_text": "windows"})),
        _identity(_run(encoder={"name": "e", "long_text": "windows", "max_windows": 3})),
        _identity(_run(method={"name": "lora", "rank": 8})),
        _identity(_run(method={"name": "full"})),
        _identity(_run(method={"name": "lora", "rank": 4, "lora_plus_ratio": 16})),
        _identity(_run(training={"learning_rate": 5e-5})),
        *(
            _identity(_run(training={"learning_rate": 5e-4, **changes}))
            for changes in (
                {"warmup": 0.1},
                {"head_learning_rate": 5e-3},
                {"embeddings_learning_rate": 5e-3},
                {"best_by": "accuracy"},
                {"schedule": "cosine"},
                {"schedule": "wsd"},
                {"schedule": "wsd", "decay": 0.3},
                {"schedule": "plateau"},
                {"schedule": "plateau", "plateau_factor": 0.1},
                {"schedule": "plateau", "plateau_patience": 2},
            )
        ),
    ]
    assert len({base, *others}) == 1 + len(others)


_THESIS_RANKS = [2, 4, 8, 32, 64, 128, 256]


def _arms(study: StudySpec, method: str) -> list[EncoderRunSpec]:
    return [run for run in of_encoders(expand(study)) if run.method_name == method]


@pytest.mark.parametrize(
    ("table", "rate", "epochs", "lora_patience"),
    [("3.2", 5e-4, 5, 3), ("3.3", 5e-5, 5, 3), ("3.4", 5e-5, 100, 5)],
)
def test_the_thesis_studies_have_the_thesis_settings(table: str, rate: float, epochs: int, lora_patience: int) -> None:
    study = read_study(STUDIES / f"thesis-table-{table}.toml")
    lora = _arms(study, "lora")
    assert [run.method.model_dump()["rank"] for run in lora] == _THESIS_RANKS
    for run in lora + _arms(study, "full"):
        assert run.encoder.name == "tohoku-nlp/bert-base-japanese"
        assert run.encoder.max_tokens == 512
        is_full = run.method_name == "full"
        defaults = TrainingSpec(learning_rate=1.0).model_dump()
        assert run.training.model_dump() == defaults | {
            "learning_rate": 5e-5 if is_full else rate,
            "epochs": epochs,
            "patience": 5 if is_full else lora_patience,
            "threshold": 0.005,
            "padding": "max_tokens",
            "hidden_dropout": "encoder",
            "attention_dropout": "encoder",
        }
    for run in lora:
        assert run.method.details() == {"scale": 1.0}
        assert isinstance(run.method, Lora)
        assert run.method == Lora(rank=run.method.rank, alpha="rank", dropout=0.1, targets=("query", "value"))
    assert len(_arms(study, "full")) == (0 if table == "3.3" else 1)
    assert [run.method_name for run in expand(study) if isinstance(run, TextRunSpec)] == ["tfidf-svm"]


def test_every_study_that_ships_is_valid() -> None:
    files = sorted(STUDIES.glob("*.toml"))
    assert len(files) >= 5
    for path in files:
        assert read_study(path).name == path.stem


def test_reading_a_study_imports_no_pytorch() -> None:
    script = "import sys, tanzaku.study.expansion; sys.exit('torch' in sys.modules or 'peft' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_methods_have_a_description_for_every_option() -> None:
    for name, kind in METHODS.items():
        for option, field in kind.model_fields.items():
            assert field.description, f"{name}.{option}"


def _examples() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_documentations_study_has_every_key_with_its_default(tmp_path: Path) -> None:
    whole = _examples()[0]
    told = tomllib.loads(whole)
    assert set(told) == set(StudySpec.model_fields)
    assert set(told["data"]) == set(DataSpec.model_fields)
    assert set(told["encoder"]) == set(EncoderSpec.model_fields)
    assert set(told["training"]) == set(TrainingSpec.model_fields)
    # These have no default, or a value there that shows what they are for.
    chosen = {"learning_rate", "head_learning_rate", "embeddings_learning_rate", "patience", "threshold"}
    defaults = TrainingSpec(learning_rate=1.0).model_dump()
    assert told["training"].pop("distill") is False  # TOML has no word for None
    for name in set(told["training"]) - chosen:
        assert told["training"][name] == defaults[name], name
    (tmp_path / "study.toml").write_text(whole, encoding="utf-8")
    assert len(expand(read_study(tmp_path / "study.toml"))) == 1 + 3 * 12


@pytest.mark.parametrize(("number", "runs"), [(1, 4), (2, 4), (3, 4), (4, 1)])
def test_the_documentations_arms_are_what_it_says(number: int, runs: int) -> None:
    examples = _examples()
    assert len(examples) == 5
    content = {"training": {"learning_rate": 1e-4}, "encoder": {"name": "an/encoder"}}
    content |= {"name": "told", "data": {"source": "sample"}} | tomllib.loads(examples[number])
    assert len(expand(StudySpec.model_validate(content))) == runs
