import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tanzaku.data.download import cache_folder, download
from tanzaku.errors import DataError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; what it does wrong is set by the test, what it was asked is kept for it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.statuses: list[int] = []
        """Statuses of the next answers, before it serves."""
        self.cut_after: list[int] = []
        """After how many bytes the next answers' connections are cut."""
        self.knows_ranges = True
        self.says_length = True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/corpus.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        content = self.server.content
        self.close_connection = True
        if self.server.statuses:
            self.send_response(self.server.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if wanted and self.server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        end = start + self.server.cut_after.pop(0) if self.server.cut_after else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *arguments: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, **options: Any) -> Path:
    return download(server.url, to=folder / "cache" / "corpus.tar.gz", sha256=SHA256, wait_seconds=0.0, **options)


def test_a_download_is_whole_and_made_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(server, tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    fetch(server, tmp_path)
    assert server.asked == [None]
    assert not path.with_name("corpus.tar.gz.part").exists()


def test_a_cut_connection_is_resumed_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    server.cut_after = [300_000, 1, 400_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=300001-", "bytes=700001-"]


def test_a_part_from_an_earlier_try_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut_after = [500_000, 0, 0]
    with pytest.raises(DataError, match="What came so far is kept"):
        fetch(server, tmp_path, attempts=2)
    server.asked.clear()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=500000-"]


def test_a_whole_part_needs_no_more_bytes_and_one_of_another_file_starts_anew(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "cache" / "corpus.tar.gz.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    (tmp_path / "cache" / "corpus.tar.gz").unlink()
    part.write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_anew(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.cut_after = [300_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_server_that_says_no_length_is_believed_and_checked(server: Server, tmp_path: Path) -> None:
    server.says_length = False
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_another_checksum_is_refused_and_nothing_is_left(server: Server, tmp_path: Path) -> None:
    server.content = b"something else"
    found = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(DataError, match=rf"has the SHA-256 {found}, not {SHA256}.*--archive"):
        fetch(server, tmp_path)
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"] == []


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "corpus.tar.gz").write_bytes(CONTENT[:-1])
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_final_and_names_the_way_round(server: Server, tmp_path: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(DataError, match=rf"the server answers {status} .*--archive"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_asked_again_up_to_a_limit(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 500]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    (tmp_path / "cache" / "corpus.tar.gz").unlink()
    server.statuses = [503] * 3
    with pytest.raises(DataError, match="can't be downloaded: the server answers 503"):
        fetch(server, tmp_path, attempts=3)


def test_a_server_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    with pytest.raises(DataError, match=r"can't be downloaded: .*refused"):
        download(f"http://127.0.0.1:{port}/x", to=tmp_path / "x", sha256=SHA256, wait_seconds=0.0, attempts=2)


def test_an_endless_answer_is_given_up(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sends more than 500,000 bytes"):
        fetch(server, tmp_path, max_bytes=500_000)


def test_what_is_there_already_needs_no_folder_to_write_to(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "corpus.tar.gz"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert fetch(server, tmp_path) == path
    assert list(path.parent.iterdir()) == [path], "a lock was taken"


def test_the_cache_folder_goes_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TANZAKU_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tanzaku"
    monkeypatch.setenv("TANZAKU_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
