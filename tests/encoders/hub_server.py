"""A small web server that speaks as much of the Hugging Face hub's API as its client needs for a download."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves the folders in `repositories` by their ids.

    `renamed` maps old ids to new ones, `gated` ids ask for a log-in. The first answer with a file named in `stall` is
    half sent and then hangs; with one named in `cut`, it is half sent and then the connection breaks.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Path] = {}
        self.renamed: dict[str, str] = {}
        self.gated: set[str] = set()
        self.stall: set[str] = set()
        self.stalled = threading.Event()
        self.cut: set[str] = set()
        self.closing = threading.Event()
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, Range

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fetched(self) -> set[str]:
        """The names of the files that were sent."""
        return {path.rpartition("/")[2] for method, path, _ in self.requests if method == "GET" and "/resolve/" in path}


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub in a thread of its own."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        hub.shutdown()
        thread.join()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *arguments: object) -> None:
        """Keeps the tests' output clean."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        is_api = path.startswith("/api/models/")
        rest = path.removeprefix("/api/models/").lstrip("/")
        for old, new in self.server.renamed.items():
            if rest == old or rest.startswith(f"{old}/"):
                return self._redirect(self.path.replace(old, new, 1))
        for name, folder in self.server.repositories.items():
            if rest == name or rest.startswith(f"{name}/"):
                return self._repository(name, folder, rest.removeprefix(name).strip("/"), is_api=is_api)
        return self._error(404, "RepoNotFound")

    def _repository(self, name: str, folder: Path, rest: str, *, is_api: bool) -> None:
        parts = rest.split("/", 2)
        if len(parts) > 1 and parts[1] not in {"main", COMMIT}:
            return self._error(404, "RevisionNotFound")
        if is_api and parts[0] == "tree":
            return self._json([self._tree_entry(path) for path in sorted(folder.iterdir())])
        if is_api:
            siblings = [{"rfilename": path.name} for path in sorted(folder.iterdir())]
            return self._json({"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        if name in self.server.gated:
            return self._error(403, "GatedRepo")
        if parts[0] == "resolve" and len(parts) == 3 and (folder / parts[2]).is_file():
            return self._file(folder / parts[2])
        return self._error(404, "EntryNotFound")

    def _tree_entry(self, path: Path) -> dict[str, object]:
        return {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _etag(path)}

    def _file(self, path: Path) -> None:
        content = path.read_bytes()
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{_etag(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "HEAD":
            return
        if path.name in self.server.stall and not self.server.stalled.is_set():
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.server.stalled.set()
            self.server.closing.wait(60)
            return
        if path.name in self.server.cut:
            self.server.cut.remove(path.name)
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def _json(self, content: object) -> None:
        body = json.dumps(content).encode("utf-8")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _redirect(self, location: str) -> None:
        self.send_response(307)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
