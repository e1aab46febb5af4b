import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.cli.distill import PANELS
from tanzaku.errors import SpecError
from tanzaku.pretraining.distillation.options import DistillOptions
from tanzaku.pretraining.options import LoopOptions
from tests.tiny import VOCABULARY

_PAGE = Path(__file__).parents[2] / "docs" / "distillation.md"
_WIDE = {"COLUMNS": "200", "TERMINAL_WIDTH": "200"}


def _parameters() -> list[Any]:
    command = typer.main.get_command(app).commands["distill"]  # type: ignore[attr-defined]
    parameters: list[Any] = command.get_params(typer.Context(command))
    return parameters


def test_every_field_of_the_model_is_an_option_under_a_heading() -> None:
    assert sorted(name for names in PANELS.values() for name in names) == sorted(DistillOptions.model_fields)
    named = {parameter.name for parameter in _parameters()}
    assert named == {*DistillOptions.model_fields, *("teacher", "texts", "out", "work", "threads", "help")}


def test_the_help_has_examples_and_choices() -> None:
    output = CliRunner().invoke(app, ["distill", "--help"], env=_WIDE).output
    assert "tanzaku distill e5-base-ja --student layers=4" in output
    assert "--student" in output
    assert "SHAPE|FOLDER" in output
    assert "layers|last|none" in output


def test_a_tiny_encoder_is_distilled_from_the_command_line(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    words = VOCABULARY[5:]
    text = tmp_path / "tiny.txt"
    lines = ["".join(words[(place * step) % len(words)] for place in range(1, 25)) for step in range(1, 150)]
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = tmp_path / "student"
    command = ["distill", str(tiny_masked_encoder), "--student", "layers=1", "--texts", str(text), "--out", str(out)]
    command += ["--documents", "line", "--max-tokens", "16", "--batch-tokens", "128", "--steps", "4"]
    done = CliRunner().invoke(app, [*command, "--evaluations", "2"], catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == f"{out}\n"
    assert "mean cosine to the teacher" in done.stderr
    assert (out / "model.safetensors").is_file()


def test_the_documentation_has_the_defaults_of_the_options() -> None:
    rows = re.findall(r"^\| (`--.+?) \| (.*?) ?\|", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    told = {
        option: default
        for options, defaults in rows
        for option, default in zip_longest(re.findall(r"--([a-z0-9-]+)", options), defaults.split(", "), fillvalue="")
    }
    defaults = DistillOptions(student="layers=2", steps=1).resolved()
    own = {name.replace("_", "-") for name in set(DistillOptions.model_fields) - set(LoopOptions.model_fields)}
    assert set(told) == own - {"documents"} | {"texts", "out", "learning-rate", "muon-learning-rate"}
    for option, text in told.items():
        value = getattr(defaults, option.replace("-", "_"), None)
        if option not in {"student", "embeddings"} and value is not None:
            assert type(value)(text) == value, option


def test_what_the_documentation_does_in_python_works(
    tiny_masked_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    changes = {'"layers=2", "steps": 1000': '"layers=1", "steps": 2, "max_tokens": 16, "batch_tokens": 64'}
    changes |= {'"e5-base-ja"': repr(str(tiny_masked_encoder)), '"text"': '"texts"'}
    for long, short in changes.items():
        assert long in script
        script = script.replace(long, short)
    monkeypatch.chdir(tmp_path)
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("空に雲がある。\n海に魚がある。\n" * 300, encoding="utf-8")
    exec(script, {})
    assert Path("e5-base-ja-2/record.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "student is missing"), (["--student", "layers=2"], "give the budget either as steps")],
)
def test_bad_options(arguments: list[str], message: str, tmp_path: Path) -> None:
    command = ["distill", "teacher", "--texts", str(tmp_path), "--out", str(tmp_path / "out"), *arguments]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, SpecError)
    assert message in str(result.exception)


def test_an_option_without_a_default_shows_none() -> None:
    assert "Undefined" not in CliRunner().invoke(app, ["distill", "--help"], env=_WIDE).output
