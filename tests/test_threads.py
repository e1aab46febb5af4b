"""How many threads compute and how they wait, as OpenMP itself says it, and as the system's files say it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer.main
from typer.testing import CliRunner

import tanzaku.threads
from tanzaku.cli import app
from tanzaku.threads import settle_threads, settled_threads, threads_of_each, usable_cores

NAMES = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
STUDY = """name = "short"
data = {source = "sample"}
arms = [{method = "tfidf-svm"}]
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a user who has set nothing."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it comes back however it is changed
        monkeypatch.delenv(name)
    return {name: value for name, value in os.environ.items() if name not in NAMES}


@pytest.mark.skipif(sys.platform != "linux", reason="asks GNU's OpenMP")
def test_every_process_of_a_study_waits_passively_with_the_threads_asked_for(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "short.toml").write_text(STUDY, encoding="utf-8")
    command = [sys.executable, "-m", "tanzaku", "study", "run", "short.toml", "--out", "runs", "--threads", "1"]
    asked = environment | {"OMP_DISPLAY_ENV": "TRUE"}
    finished = subprocess.run(command, cwd=tmp_path, env=asked, capture_output=True, text=True, check=True)
    policies = [line for line in finished.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    assert len(policies) >= 2  # the command, and the process that the runs are forked from
    assert all("'PASSIVE'" in line for line in policies)
    (record,) = (tmp_path / "runs").glob("*/record.json")
    assert json.loads(record.read_text(encoding="utf-8"))["environment"]["threads"] == 1


def test_every_command_that_trains_or_classifies_takes_threads() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    study = commands["study"].commands
    others = (commands[name] for name in ("classify", "compress", "pack", "pretrain"))
    for command in (study["run"], study["tune"], *others):
        options = command.get_params(typer.Context(command))
        assert "--threads" in [name for option in options for name in option.opts], command.name
    refused = CliRunner().invoke(app, ["classify", "bundle", "--threads", "0"])
    assert refused.exit_code == 2
    assert "--threads" in refused.output


@pytest.mark.parametrize("said", [{}, {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "5"}])
def test_the_users_own_environment_counts(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, said: dict[str, str]
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    settle_threads()
    assert os.environ["OMP_WAIT_POLICY"] == said.get("OMP_WAIT_POLICY", "PASSIVE")
    assert settled_threads() == int(said.get("OMP_NUM_THREADS", usable_cores(physical=True)))


def test_the_option_comes_before_the_environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert settled_threads() == 5
    before = torch.get_num_threads()
    settle_threads(2)
    try:
        assert torch.get_num_threads() == settled_threads() == 2
    finally:
        torch.set_num_threads(before)
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert settled_threads() == usable_cores(physical=True)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such call on this system")
@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/job\n", {"job/cpu.max": "250000 100000\n"}, 2),
        ("0::/job/step\n", {"job/cpu.max": "300000 100000\n", "job/step/cpu.max": "max 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),  # half a core is one
        ("0::/host/path\n", {"cpu.max": "400000 100000\n"}, 4),  # in a container only the top is there
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        (
            "4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"},
            2,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("", {}, 8),
    ],
)
def test_a_containers_processor_time_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "own").write_text(own, encoding="ascii")
    for name, content in files.items():
        path = tmp_path / "cgroups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="ascii")
    monkeypatch.setattr(tanzaku.threads, "_OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(tanzaku.threads, "_CGROUPS", tmp_path / "cgroups")
    assert usable_cores() == cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such call on this system")
def test_logical_cores_that_share_a_physical_one_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5})
    monkeypatch.setattr(tanzaku.threads, "_OWN_CGROUPS", tmp_path / "absent")
    monkeypatch.setattr(tanzaku.threads, "_SIBLINGS", str(tmp_path / "cpu{number}"))
    for number in (0, 1, 2, 5):
        (tmp_path / f"cpu{number}").write_text(f"{number % 4},{number % 4 + 4}\n", encoding="ascii")
    assert usable_cores() == 4
    assert usable_cores(physical=True) == 3


@pytest.mark.parametrize(("jobs", "threads"), [(None, None), (1, None), (2, 2), (3, 1), (9, 1)])
def test_jobs_share_the_threads(monkeypatch: pytest.MonkeyPatch, jobs: int | None, threads: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads_of_each(jobs) == threads
