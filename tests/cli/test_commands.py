"""The commands as a newcomer meets them: their order, their help, and hints for what is not there."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from rich.cells import cell_len
from typer.main import get_command
from typer.testing import CliRunner

from tanzaku import __version__
from tanzaku.cli import app
from tanzaku.cli.commands import NAMES, folded_examples

_GROUPS = {
    "data": ["livedoor", "import", "sample", "show"],
    "study": ["run", "status", "report", "archive", "restore", "export", "tune", "schema"],
    "encoder": ["export"],
}
_VERBS = [[group, verb] for group, verbs in _GROUPS.items() for verb in verbs]
_VERBS += [
    [verb]
    for verb in (
        "fit",
        "pack",
        "classify",
        "evaluate",
        "inspect",
        "serve",
        "export",
        "push",
        "compress",
        "doctor",
        "methods",
        "trim",
        "pretrain",
        "distill",
    )
]


def _help(*command: str, width: int = 80) -> str:
    done = CliRunner().invoke(app, [*command, "-h"], env={"COLUMNS": str(width)})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_commands_are_listed_in_the_order_people_use_them() -> None:
    shown = re.findall(r"^│ (\w+) ", _help().partition("Commands")[2], flags=re.MULTILINE)
    assert shown[:5] == ["fit", "data", "study", "pack", "classify"]
    assert re.findall(r"^│ (\w+) ", _help("study").partition("Commands")[2], flags=re.MULTILINE) == _GROUPS["study"]


@pytest.mark.parametrize("command", _VERBS, ids=" ".join)
def test_every_help_has_its_examples_as_code_and_names_values_in_one_style(command: list[str]) -> None:
    shown = _help(*command, width=200)
    # Code is indented by two more blanks than prose.
    assert re.search(rf"^  tanzaku {' '.join(command)}( |$)", shown, flags=re.MULTILINE), shown
    options = shown.partition("─ Options")[2]
    assert options
    assert not set(re.findall(r"<\w[\w ]*>", options)) - {"<bool>", "<out>", "<the study>"}
    assert options.count("<bool>") == 1  # Typer's own, of --help


@pytest.mark.parametrize("command", [["data", "import"], ["classify"], ["pretrain"]], ids=" ".join)
def test_no_option_is_cut_off_in_eighty_columns(command: list[str]) -> None:
    assert not re.search(r"--[a-z-]+…", _help(*command))


def test_every_verb_is_tested() -> None:
    root = get_command(app)
    there = [[name] for name, verb in root.commands.items() if not hasattr(verb, "commands")]  # type: ignore[attr-defined]
    there += [[group, name] for group in _GROUPS for name in root.commands[group].commands]  # type: ignore[attr-defined]
    assert sorted(there) == sorted(_VERBS)


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_printed(option: str) -> None:
    assert CliRunner().invoke(app, [option]).stdout == f"tanzaku {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["train", "x.toml"], "tanzaku study run"),
        (["run"], "tanzaku study run"),
        (["report", "runs"], "tanzaku study report"),
        (["study", "pack"], "tanzaku pack"),
        (["study", "push"], "tanzaku push"),
        (["predict"], "tanzaku classify"),
        (["clasify"], "classify"),
    ],
)
def test_what_is_not_there_points_to_what_was_meant(typed: list[str], meant: str) -> None:
    done = CliRunner().invoke(app, typed, env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.stderr


def test_a_command_does_not_import_the_others() -> None:
    """Each would make the first label of `tanzaku classify` late."""
    unneeded = [f"tanzaku.cli.{name}" for name in NAMES if name != "classify"]
    unneeded += ["tanzaku.methods", "tanzaku.study.record", "tanzaku.study.spec", "rich.progress"]
    script = (
        "import sys\nfrom tanzaku.cli import main\n"
        "sys.argv = ['tanzaku', 'classify', 'no-bundle', '海']\n"
        f"try:\n    main()\nexcept SystemExit:\n    print(*[name for name in {unneeded!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8", check=True)
    assert "no-bundle: there is no such folder" in done.stderr
    assert done.stdout == "\n"


def test_a_value_that_is_none_of_the_choices_is_said_plainly() -> None:
    done = CliRunner().invoke(app, ["study", "report", "runs", "--language", "jp"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "'jp' is not one of 'en', 'ja'" in done.stderr
    assert "Value error" not in done.stderr


def test_help_in_a_narrow_pipe_needs_no_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tanzaku", "study", "run", "-h"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", [["study", "run"], ["data", "import"], ["classify"], ["export"]])
def test_examples_in_a_window_of_80_columns_can_be_copied(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80", "TERM": "dumb"})
    start, end = done.stdout.index("Examples:"), done.stdout.index("╭")
    text = done.stdout[start:end].split("\n", 1)[1]
    assert max(map(cell_len, text.splitlines())) <= 80
    # As a shell reads them: each line that does not end with a backslash ends a command.
    assert not re.search(r"\\ +$", text, flags=re.MULTILINE)  # a blank after it would be a word of its own
    joined = re.sub(r" \\\n\s*", " ", text)
    commands = [line.strip() for line in joined.splitlines() if line.strip()]
    assert len(commands) > 1
    assert all("tanzaku" in line for line in commands)


def test_long_examples_are_divided_between_options_only_once() -> None:
    long = "tanzaku study run studies/quickstart.toml --track tensorboard --track mlflow:http://localhost:5000"
    text = f"Do it.\n\n```\n{long}\ntanzaku doctor\n```\n"
    folded = folded_examples(text)
    first, second, last = folded.split("```")[1].strip().splitlines()
    assert first.endswith(" \\")
    assert shlex.split(first.removesuffix("\\") + second) == long.split()
    assert last == "tanzaku doctor"
    assert folded_examples(folded) == folded
