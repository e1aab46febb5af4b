import re
import shlex
import shutil
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.cli.options import ModelOptions, with_options
from tanzaku.cli.pretrain import PANELS
from tanzaku.errors import TanzakuError
from tanzaku.pretraining.options import NewEncoderOptions, PretrainOptions
from tests.forked import start_tanzaku
from tests.tiny import VOCABULARY

_PAGE = Path(__file__).parents[2] / "docs" / "pretraining.md"
_BUDGET = {"steps", "tokens", "minutes", "epochs"}
# What the documentation's commands are scaled down to; the encoder named is replaced by a tiny one.
_SMALLER = {
    "--shape": "2x32",
    "--max-tokens": "32",
    "--batch-tokens": "128",
}
_SMALLEST = ["--vocabulary-size", "2000", "--steps", "3", "--evaluations", "1"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    words = VOCABULARY[5:]
    lines = ["".join(words[(place * step) % len(words)] for place in range(1, 25)) for step in range(1, 150)]
    path = tmp_path / "tiny.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_tiny_encoder_goes_on_from_the_command_line(text: Path, tiny_masked_encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    command = ["pretrain", str(text), "--out", str(out), "--from", str(tiny_masked_encoder), "--documents", "line"]
    command += ["--max-tokens", "16", "--batch-tokens", "128", "--steps", "12", "--evaluations", "2"]
    process = start_tanzaku(*command, folder=tmp_path)
    assert process.finish() == f"{out}\n"
    assert "step 12, " in process.errors
    assert "held-out loss" in process.errors
    assert (out / "record.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1", "--shape", "large"], "the shape 'large' is not understood"),
        ([], "either as steps, as tokens, as minutes or as epochs"),
        (["--steps", "1", "--from", "x", "--no-tie"], "tie is fixed by the encoder"),
        (["--steps", "1", "--masking-rate", "1"], "masking_rate: Input should be less than 1"),
    ],
)
def test_bad_options(text: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["pretrain", str(text), "--out", str(tmp_path / "out"), *arguments])
    assert isinstance(result.exception, TanzakuError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_listing_the_commands_imports_neither_pytorch_nor_the_options() -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'pydantic'}"
    script = (
        "import sys\nfrom tanzaku.cli import main\nsys.argv = ['tanzaku', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    sys.exit(bool({heavy} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def _parameters() -> list[Any]:
    command = typer.main.get_command(app).commands["pretrain"]  # type: ignore[attr-defined]
    parameters: list[Any] = command.get_params(typer.Context(command))
    return parameters


def test_every_field_of_the_model_is_an_option_under_a_heading() -> None:
    listed = [name for names in PANELS.values() for name in names]
    assert sorted([*listed, *NewEncoderOptions.model_fields]) == sorted(PretrainOptions.model_fields)
    assert {parameter.name for parameter in _parameters()} == {
        *PretrainOptions.model_fields,
        *("texts", "out", "work", "threads", "help"),
    }


def test_the_help_shows_description_choices_range_and_default_of_a_field() -> None:
    output = CliRunner().invoke(app, ["pretrain", "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).output
    # A description may take several lines.
    options = [" ".join(part.replace("│", " ").split()) for part in output.split("│ --")[1:]]
    shown = {f"--{option.split()[0]}": option for option in options}
    assert "NUMBER [0<x<1] Share of the tokens to predict. [default: 0.2]" in shown["--masking-rate"]
    assert "adamw|muon AdamW for all" in shown["--optimizer"]
    assert "NUMBER [x>0] AdamW's ε. [default: 1e-06]" in shown["--epsilon"]
    assert shown["--tie"].startswith("tie --no-tie One matrix")
    assert "[default: yes]" in shown["--tie"]
    assert "[default" not in shown["--learning-rate"]  # it depends on --from, as the description explains
    assert output.index("A new encoder") < output.index("Learning")
    assert "tanzaku pretrain text/ --out my-encoder" in output


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--tie"], {"tie": True}),
        (["--no-tie", "--heads", "2"], {"tie": False, "heads": 2}),
        (["--from", "x", "--masking-rate", "0.2"], {"from_encoder": "x", "masking_rate": 0.2}),
    ],
)
def test_only_what_was_given_reaches_the_model(given: list[str], expected: dict[str, Any]) -> None:
    received: list[dict[str, Any]] = []

    def command(options: PretrainOptions) -> None:
        """Take what `build` gives."""

    names = {"from_encoder": ("--from", "ENCODER")}
    declared = with_options(command, options=ModelOptions(PretrainOptions, received.append, names=names))
    small = typer.Typer()
    small.command()(declared)
    done = CliRunner().invoke(small, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert received == [expected]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--steps", "few"], "--steps"), (["--optimizer", "sgd"], "'sgd' is not one of 'adamw', 'muon'")],
)
def test_a_value_of_another_kind_is_refused_before_the_command_runs(
    text: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    command = ["pretrain", str(text), "--out", str(tmp_path / "out"), *arguments]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert done.exit_code == 2
    assert message in done.stderr


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def _smaller(command: str) -> list[str]:
    """The documentation's command with a few steps in place of its minutes."""
    words = shlex.split(command)[1:]
    for option, value in _SMALLER.items():
        if option in words:
            words[words.index(option) + 1] = value
    del words[words.index("--minutes") : words.index("--minutes") + 2]
    more = _SMALLEST[2:] if "--from" in words else _SMALLEST
    size = [] if "--batch-tokens" in words else ["--batch-tokens", _SMALLER["--batch-tokens"]]
    return [*words, *more, *size]


def _sample_text() -> Path:
    import tanzaku.data

    return Path(tanzaku.data.__file__).parent / "sample" / "text"


@pytest.mark.slow
def test_what_the_documentation_tells_to_type_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [line for block in _blocks("bash") for line in block.splitlines()]
    assert len(commands) == 3
    monkeypatch.chdir(tmp_path)
    shutil.copytree(_sample_text(), "text")
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path("text").glob("*/*-*.txt"))]
    Path("training-texts.txt").write_text("\n\n".join(texts), encoding="utf-8")
    for command in commands:
        words = [word.replace("tanzaku-mini", "my-encoder") for word in _smaller(command)]
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert (Path(result.stdout.strip()) / "model.safetensors").is_file()
    (script,) = _blocks("python")
    for long, short in (("2x128", "2x32"), ("1000", "3"), ("4000", "2000"), ('"my-encoder"', '"from-python"')):
        assert long in script
        script = script.replace(long, short)
    exec(script, {})
    assert Path("from-python/record.json").is_file()


def _told() -> dict[str, str]:
    """The options of the documentation's tables, and their defaults as they are written there."""
    rows = re.findall(r"^\| (`--.+?) \| (.*?) ?\|", _PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        option: default
        for options, defaults in rows
        for option, default in zip_longest(re.findall(r"--([a-z0-9-]+)", options), defaults.split(", "), fillvalue="")
    }


def _default(text: str) -> object:
    return {"yes": True, "no": False}.get(text, text)


def test_the_documentation_has_every_option_with_its_default() -> None:
    flags = [parameter.opts[0] for parameter in _parameters()]
    options = {flag.removeprefix("--") for flag in flags if flag.startswith("--")}
    told = _told()
    assert set(told) == options - {"help"}
    defaults = PretrainOptions(steps=1).resolved()
    for option, text in told.items():
        name = option.replace("-", "_")
        if name in {"out", "from", "work", "threads", "workers"} | _BUDGET:
            continue
        value = getattr(defaults, name)
        assert type(value)(_default(text)) == value, option
