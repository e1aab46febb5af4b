"""The command: its address, what it refuses, and how it stops."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tanzaku.cli.serve import _named
from tanzaku.errors import BundleError, TanzakuError
from tanzaku.serving.server import check_address
from tanzaku.serving.tokens import read_tokens


def test_other_addresses_need_a_token() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check_address(host, protected=False)
    check_address("0.0.0.0", protected=True)
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.com"):
        with pytest.raises(TanzakuError, match="no token is set"):
            check_address(host, protected=False)


def test_tokens_come_from_a_file_and_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text("# ours\n0123456789abcdef\n\n", encoding="utf-8")
    monkeypatch.setenv("SOME_TOKEN", "fedcba9876543210")
    assert read_tokens(file, variable="SOME_TOKEN") == ["fedcba9876543210", "0123456789abcdef"]
    for content, message in (("short", "16 or more"), ("# nothing", "no tokens"), ("日本語" * 8, "ASCII")):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(TanzakuError, match=message):
            read_tokens(file, variable="OTHER_TOKEN")


def test_tasks_are_named_after_their_folders(tmp_path: Path) -> None:
    assert _named(["bundles/news", "topics=other/news"]) == {
        "news": Path("bundles/news"),
        "topics": Path("other/news"),
    }
    (tmp_path / "a=b").mkdir()
    assert _named([str(tmp_path / "a=b")]) == {"a=b": tmp_path / "a=b"}
    with pytest.raises(BundleError, match="two bundles would be the task 'news'"):
        _named(["a/news", "b/news"])


def test_sigterm_finishes_what_has_begun(bundles: dict[str, Path]) -> None:
    """The request is sent slowly: it has begun when the signal comes, and is whole only afterwards."""
    command = [sys.executable, "-m", "tanzaku", "serve", f"t={bundles['svm']}", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1"}
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        body = json.dumps({"texts": ["海"]}).encode()

        def slowly() -> Iterator[bytes]:
            yield body[:5]
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            yield body[5:]

        answer = httpx.post(f"{url}/v1/classify", content=slowly(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 200
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    events = [json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")]
    assert events[:2] == ["loaded", "started"]
    assert events[-2:] == ["request", "stopped"]
