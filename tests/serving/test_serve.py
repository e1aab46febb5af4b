"""The command: its address, what it refuses, and how it stops."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from pydantic import Field, TypeAdapter, ValidationError
from typer.testing import CliRunner

from tanzaku.cli import app
from tanzaku.cli.serve import PORT_VARIABLE, _named
from tanzaku.errors import BundleError, DataError, SpecError, TanzakuError
from tanzaku.serving.server import _bound, check_address
from tanzaku.serving.tasks import NAME_PATTERN
from tanzaku.serving.tokens import TOKEN_VARIABLE, read_tokens
from tests.dockerfile import command_of


def _fits_in_a_path(name: str) -> bool:
    """Whether the server takes it, whose expressions are those of Rust."""
    try:
        TypeAdapter(Annotated[str, Field(pattern=NAME_PATTERN)]).validate_python(name)
    except ValidationError:
        return False
    return True


def test_other_addresses_need_a_token() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check_address(host, protected=False)
    check_address("0.0.0.0", protected=True)
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.com"):
        with pytest.raises(TanzakuError, match="no token is set"):
            check_address(host, protected=False)


def test_a_name_that_no_host_can_have_is_an_error_of_ours() -> None:
    with pytest.raises(
        TanzakuError, match=r"can't listen on my\.\.host, port 8000: .*; choose another --port or --host"
    ):
        _bound("my..host", 8000)


@pytest.mark.parametrize("fits", [lambda name: re.fullmatch(NAME_PATTERN, name) is not None, _fits_in_a_path])
def test_tasks_have_names_of_any_script(fits: Callable[[str], bool]) -> None:
    assert all(map(fits, ("news", "日々", "佐々木", "〆切", "ﾆｭｰｽ", "第１回", "büro", "a.b_c-d", "9", 64 * "海")))
    assert not any(map(fits, ("", "_a", ".a", "-a", "a b", "a/b", "a\n", "海。", 65 * "海")))


def test_a_folder_whose_name_no_task_can_have_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "b 2").mkdir()
    with pytest.raises(BundleError, match=r"'b 2' can't be the name of a task; .*; name it: OTHER=.*b 2$"):
        _named([str(tmp_path / "b 2")])


def test_tokens_come_from_a_file_and_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text("# ours\n0123456789abcdef\n\n", encoding="utf-8")
    monkeypatch.setenv("SOME_TOKEN", "fedcba9876543210")
    assert read_tokens(file, variable="SOME_TOKEN") == ["fedcba9876543210", "0123456789abcdef"]
    for content, message in (("short", "16 or more"), ("# nothing", "no tokens"), ("日本語" * 8, "ASCII")):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(TanzakuError, match=message):
            read_tokens(file, variable="OTHER_TOKEN")


def test_a_token_file_in_another_encoding_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_bytes("# 管理者\n".encode("cp932"))
    with pytest.raises(DataError, match=r"tokens\.txt, line 1: the byte .* is not valid utf-8.* save it as UTF-8"):
        read_tokens(tmp_path / "tokens.txt", variable="NONE")


@pytest.mark.parametrize("value", [["--max-texts", "0"], ["--request-seconds", "inf"], ["--request-seconds", "nan"]])
def test_limits_out_of_range_are_errors_of_ours(tmp_path: Path, value: list[str]) -> None:
    done = CliRunner().invoke(app, ["serve", str(tmp_path), *value])
    assert isinstance(done.exception, SpecError)
    assert str(done.exception).startswith(f"{value[0]}: ")


def test_what_an_administrator_needs_is_given_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANZAKU_ADMIN_TOKEN", raising=False)
    (token := tmp_path / "admin.txt").write_text("0123456789abcdef\n", encoding="utf-8")
    for options, message in (
        (["--bundles", tmp_path / "nowhere", "--admin-token-file", token], "there is no such folder"),
        (["--bundles", tmp_path], "give --admin-token-file"),
        (["--admin-token-file", token], "only has an effect with --bundles"),
    ):
        done = CliRunner().invoke(app, ["serve", str(tmp_path), *map(str, options)])
        assert isinstance(done.exception, BundleError)
        assert message in str(done.exception)


def test_tasks_are_named_after_their_folders(tmp_path: Path) -> None:
    assert _named(["bundles/news", "topics=other/news"]) == {
        "news": Path("bundles/news"),
        "topics": Path("other/news"),
    }
    (tmp_path / "a=b").mkdir()
    assert _named([f"x={tmp_path}/a=b"]) == {"x": tmp_path / "a=b"}
    with pytest.raises(BundleError, match=r"'a=b' can't be the name of a task; .*; name it: OTHER=.*/a=b$"):
        _named([str(tmp_path / "a=b")])
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
            time.sleep(1)  # a busy machine may not have taken the connection yet, and then it may be closed
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


def test_the_images_health_check_follows_the_servers_port(bundles: dict[str, Path]) -> None:
    """The image's own command and health check, with a real server and no Docker."""
    command, check = command_of("CMD", stage="serve"), command_of("HEALTHCHECK", stage="serve")
    assert check[0] == "python"
    proxy = "http://127.0.0.1:1"  # the check must not take it
    environment = {
        **os.environ,
        TOKEN_VARIABLE: "0123456789abcdef",
        "http_proxy": proxy,
        "no_proxy": "",
        "NO_PROXY": "",
    }

    def is_healthy() -> bool:
        done = subprocess.run([sys.executable, *check[1:]], env=environment, stderr=subprocess.DEVNULL, timeout=30)
        return done.returncode == 0

    arguments = [str(bundles["svm"]) if one == "/bundle" else one for one in command]
    for _ in range(5):  # another program may take the port before the server does
        with socket.socket() as reserved:  # bound, but nobody answers
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            environment[PORT_VARIABLE] = str(port)
            assert not is_healthy()
        with subprocess.Popen(
            [sys.executable, "-m", "tanzaku", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if address:
                assert address.endswith(f":{port}")
                assert is_healthy()
                process.terminate()
            _, log = process.communicate(timeout=60)
        if address or "can't listen" not in " ".join(log.split()):
            break
    assert address, log
