"""`make quickstart` where there is no network: with the included encoder and corpus, for an epoch on short texts."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tanzaku.study.runs import read_records

ROOT = Path(__file__).parents[1]
# A network of its own with nothing in it, not even the loopback address; without root by way of a user of its own.
WITHOUT_NETWORK = ["unshare", "--net", "--map-root-user"]


def _blocked() -> str | None:
    """Why processes can't be cut off from the network here, or None."""
    try:
        done = subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no unshare (util-linux)"
    return done.stderr.strip() or "unshare failed" if done.returncode else None


@pytest.fixture(scope="module", autouse=True)
def _needs_a_network_to_take_away() -> None:
    reason = _blocked()
    if reason is not None and not os.environ.get("CI"):
        pytest.skip(f"processes can't be cut off from the network here: {reason}")
    assert reason is None


@pytest.mark.timeout(60)
def test_the_network_is_really_blocked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        attempt = [sys.executable, "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=5)"]
        assert subprocess.run(attempt, capture_output=True, check=False).returncode == 0
        assert subprocess.run([*WITHOUT_NETWORK, *attempt], capture_output=True, check=False).returncode != 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_quickstart_ends_with_its_table_and_a_classified_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    tanzaku = tmp_path / "bin" / "tanzaku"
    tanzaku.parent.mkdir()
    tanzaku.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tanzaku "$@"\n', encoding="utf-8")
    tanzaku.chmod(0o755)
    # The installation is this one: `setup` has been run.
    smaller = "--set training.epochs=1 --set training.batch_size=64 --set encoder.max_tokens=8"
    smaller += " --set arms.1.epochs=1 --set arms.3.rank=[2,8]"
    settings = [f"BIN={tanzaku.parent}", f"OPTIONS={smaller}"]
    command = ["make", "--silent", "--assume-old=.venv/installed", "quickstart", *settings]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [*WITHOUT_NETWORK, *command], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs" / "quickstart"
    records = read_records(runs)
    assert [record.status for record in records] == ["finished"] * 5
    labels = records[0].data.label_names
    report = (runs / "report" / "report.md").read_text(encoding="utf-8")
    table = [line for line in done.stdout.splitlines() if line.startswith("| LoRA r=")]
    assert len(table) == 2
    assert all(line in report for line in table)
    assert str(Path("runs") / "quickstart" / "report" / "report.html") in done.stderr
    assert sum(f'"label": "{label}"' in done.stdout for label in labels) == 1
