"""The Hub's client, unchanged, against a real server on this machine; in processes of their own, because it reads its
address and its cache's place when it is imported."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints import make_mecab_bert
from tests.encoders.hub_server import COMMIT, Hub, serve

_RESOLVE = """
import sys
from tanzaku.encoders.source import resolve_encoder
from tanzaku.errors import EncoderError
for name in sys.argv[2:]:
    try:
        source = resolve_encoder(name, revision=sys.argv[1] or None)
    except EncoderError as error:
        print("ERROR", error)
    else:
        print(source.name, source.fingerprint[:8], *sorted(path.name for path in source.folder.iterdir()))
"""
OLD, NEW = "cl-tohoku/bert-base-japanese", "tohoku-nlp/bert-base-japanese"
FILES = "README.md config.json model.safetensors tokenizer_config.json vocab.txt"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with serve() as server:
        server.repositories[NEW] = make_mecab_bert(tmp_path / "published")
        server.renamed[OLD] = NEW
        for unwanted in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md", "training_args.bin"):
            (server.repositories[NEW] / unwanted).write_bytes(b"x")
        yield server


def _environment(endpoint: str, home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"} | more


def _resolve(*names: str, endpoint: str, home: Path, revision: str = "", **more: str) -> list[str]:
    command = [sys.executable, "-c", _RESOLVE, revision, *names]
    result = subprocess.run(
        command, env=_environment(endpoint, home, **more), check=True, capture_output=True, text=True, timeout=120
    )
    return result.stdout.splitlines()


def test_downloads_what_is_needed_and_works_offline_from_either_name(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (line,) = _resolve(NEW, endpoint=hub.url, home=home)
    name, fingerprint, *files = line.split()
    assert (name, " ".join(files)) == (NEW, FILES)
    assert hub.fetched() == set(FILES.split())

    offline = _resolve(NEW, OLD, "tohoku-nlp/other", endpoint=hub.url, home=home, HF_HUB_OFFLINE="1")
    assert offline[0] == line
    assert offline[1] == line.replace(NEW, OLD)
    assert "because HF_HUB_OFFLINE is set" in offline[2]
    assert "unset HF_HUB_OFFLINE to download it, or copy the encoder's folder" in offline[2]

    # A hub that is down is no reason to stop either, once the cache is filled.
    assert _resolve(NEW, OLD, endpoint="http://127.0.0.1:9", home=home) == offline[:2]
    # Asked again, nothing is sent again.
    sent = len([request for request in hub.requests if "/resolve/" in request[1]])
    assert _resolve(NEW, endpoint=hub.url, home=home, revision=COMMIT)[0].split()[1] == fingerprint
    assert len([request for request in hub.requests if "/resolve/" in request[1]]) == sent


def test_the_old_name_is_redirected(hub: Hub, tmp_path: Path) -> None:
    (line,) = _resolve(OLD, endpoint=hub.url, home=tmp_path / "home")
    assert line.split()[0] == OLD
    assert line.endswith(FILES)
    offline = _resolve(NEW, endpoint=hub.url, home=tmp_path / "home", HF_HUB_OFFLINE="1")
    assert offline == [line.replace(OLD, NEW)]


def test_a_repository_without_safetensors_gives_its_pytorch_weights(hub: Hub, tmp_path: Path) -> None:
    (hub.repositories[NEW] / "model.safetensors").unlink()
    (line,) = _resolve(NEW, endpoint=hub.url, home=tmp_path / "home")
    assert line.split()[2:] == ["README.md", "config.json", "pytorch_model.bin", "tokenizer_config.json", "vocab.txt"]
    # transformers would ask a web service to convert them, in a thread; nothing else than the Hub was asked, for this.
    assert not [path for _, path, _ in hub.requests if "discussions" in path or "convert" in path]


def test_what_can_not_be_had_is_one_error_with_the_remedy(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["someone/gated"] = hub.repositories[NEW]
    hub.gated.add("someone/gated")
    (tmp_path / "no-weights").mkdir()
    (tmp_path / "no-weights" / "config.json").write_text("{}", encoding="utf-8")
    hub.repositories["someone/no-weights"] = tmp_path / "no-weights"
    names = ("tohoku-nlp/bert-base-japanesse", "someone/gated", "someone/no-weights", "./no/such/folder", "", "a b/c")
    lines = _resolve(*names, endpoint=hub.url, home=tmp_path / "home")
    assert all(
        line.startswith("ERROR encoder ") and repr(name) in line for name, line in zip(names, lines, strict=True)
    )
    misspelled, gated, without_weights, folder, empty, spaces = lines
    assert "there is no local folder of this name" in misspelled
    assert f"{hub.url} has no such public model" in misspelled
    assert "check the spelling, or log in with `hf auth login`" in misspelled
    assert f"accept its terms at {hub.url}/someone/gated and log in with `hf auth login`" in gated
    assert "has no weights in model.safetensors or pytorch_model.bin" in without_weights
    assert all("it is not a valid Hub id" in line for line in (folder, empty, spaces))

    (line,) = _resolve(NEW, endpoint=hub.url, home=tmp_path / "home", revision="v9")
    assert "has no revision 'v9'" in line
    (line,) = _resolve(NEW, endpoint="http://127.0.0.1:9", home=tmp_path / "empty")
    assert "http://127.0.0.1:9 can't be reached" in line
    assert "set HF_ENDPOINT to a mirror" in line


def _enlarge(path: Path) -> bytes:
    """Make the file larger than the client's pieces of 10 MB, so that it has kept some when it is interrupted."""
    content = path.read_bytes() + bytes(24_000_000)
    path.write_bytes(content)
    return content


def _ranges(hub: Hub, file_name: str) -> list[str | None]:
    return [given for method, path, given in hub.requests if method == "GET" and path.endswith(file_name)]


def test_a_broken_connection_is_taken_up_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    content = _enlarge(hub.repositories[NEW] / "model.safetensors")
    hub.cut.add("model.safetensors")
    (line,) = _resolve(NEW, endpoint=hub.url, home=tmp_path / "home")
    assert line.endswith(FILES)
    (snapshot,) = (tmp_path / "home").rglob("snapshots/*/model.safetensors")
    assert snapshot.read_bytes() == content
    first, second = _ranges(hub, "model.safetensors")
    assert first is None
    assert second is not None
    assert int(second.removeprefix("bytes=").rstrip("-")) >= 10_000_000


def test_a_killed_download_is_not_taken_for_whole_and_can_be_finished(hub: Hub, tmp_path: Path) -> None:
    content = _enlarge(hub.repositories[NEW] / "model.safetensors")
    hub.stall.add("model.safetensors")
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-c", _RESOLVE, "", NEW], env=_environment(hub.url, home), stderr=subprocess.DEVNULL
    )
    try:
        assert hub.stalled.wait(60)
        _wait_for(home, "snapshots/*/vocab.txt")
    finally:
        process.kill()
        process.wait()

    (line,) = _resolve(NEW, endpoint=hub.url, home=home, HF_HUB_OFFLINE="1")
    assert "does not hold it whole" in line
    (line,) = _resolve(NEW, endpoint=hub.url, home=home)
    assert line.endswith(FILES)
    (snapshot,) = home.rglob("snapshots/*/model.safetensors")
    assert snapshot.read_bytes() == content
    assert len(_ranges(hub, "vocab.txt")) == 1  # what was whole was kept


def _wait_for(home: Path, pattern: str) -> None:
    pause = threading.Event()
    for _ in range(600):
        if any(home.rglob(pattern)):
            return
        pause.wait(0.05)
    raise AssertionError(f"no {pattern} in 30 seconds")
