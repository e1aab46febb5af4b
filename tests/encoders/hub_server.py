"""A small web server that speaks as much of the Hugging Face Hub's API as its client needs for down- and uploads."""

import base64
import hashlib
import json
import re
import shutil
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

    Who sends a token of `writers` may write to the repositories of these owners, which are folders in `storage`; the
    branches of a repository are those named `owner/name@branch`.
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
        self.writers: dict[str, set[str]] = {}
        self.storage: Path | None = None
        self.private: set[str] = set()
        self.commits: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}  # by their SHA-256, before a commit names them

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
        commit = self.server.commits.get(name, COMMIT)
        if len(parts) > 1 and f"{name}@{parts[1]}" in self.server.repositories:
            folder, commit = self.server.repositories[f"{name}@{parts[1]}"], self.server.commits[f"{name}@{parts[1]}"]
        elif len(parts) > 1 and parts[1] not in {"main", commit}:
            branches = [known for known in self.server.repositories if known.startswith(f"{name}@")]
            found = [known for known in branches if self.server.commits[known] == parts[1]]
            if not found:
                return self._error(404, "RevisionNotFound")
            folder, commit = self.server.repositories[found[0]], parts[1]
        if is_api and parts[0] == "tree":
            return self._json([self._tree_entry(path, folder) for path in _files(folder)])
        if is_api:
            siblings = [{"rfilename": path.relative_to(folder).as_posix()} for path in _files(folder)]
            private = name in self.server.private
            return self._json({"id": name, "sha": commit, "siblings": siblings, "private": private, "tags": []})
        if name in self.server.gated:
            return self._error(403, "GatedRepo")
        if parts[0] == "resolve" and len(parts) == 3 and (folder / parts[2]).is_file():
            return self._file(folder / parts[2], commit)
        return self._error(404, "EntryNotFound")

    def _tree_entry(self, path: Path, folder: Path) -> dict[str, object]:
        name = path.relative_to(folder).as_posix()
        return {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(("POST", path, None))
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in self.server.writers:
            return self._error(401, "", "Invalid credentials in Authorization header")
        if path == "/api/repos/create":
            given = json.loads(body)
            return self._create(f"{given['organization']}/{given['name']}", given, self.server.writers[token])
        if found := re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git/info/lfs|/(\w+))/(.+)", path):
            name, verb, rest = found.groups()
            if name.partition("/")[0] not in self.server.writers[token]:
                return self._error(403, "", "you may not write here")
            return self._write(name, verb or "lfs", rest, body)
        return self._error(404, "EntryNotFound")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[hashlib.sha256(content).hexdigest()] = content
        self._json({})

    def _create(self, name: str, given: dict[str, object], owners: set[str]) -> None:
        if name.partition("/")[0] not in owners:
            return self._error(403, "", "you may not create a repository here")
        if name in self.server.repositories:
            return self._error(409, "", "it exists")
        assert self.server.storage is not None
        folder = self.server.storage / name
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n", encoding="utf-8")
        self.server.repositories[name] = folder
        if given.get("private") or given.get("visibility") == "private":
            self.server.private.add(name)
        return self._json({"url": f"{self.server.url}/{name}"})

    def _write(self, name: str, verb: str, rest: str, body: bytes) -> None:
        if verb == "preupload":
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith((".safetensors", ".onnx")) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if verb == "lfs":
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.server.url}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if verb == "branch":
            assert self.server.storage is not None
            branch = self.server.storage / f"{name}@{rest}"
            shutil.copytree(self.server.repositories[name], branch)
            self.server.repositories[f"{name}@{rest}"] = branch
            self.server.commits[f"{name}@{rest}"] = hashlib.sha1(rest.encode()).hexdigest()
            return self._json({})
        return self._commit(name if rest == "main" else f"{name}@{rest}", body)

    def _commit(self, name: str, body: bytes) -> None:
        folder = self.server.repositories[name]
        for line in body.splitlines():
            one = json.loads(line)
            path = folder / one["value"].get("path", "")
            path.parent.mkdir(parents=True, exist_ok=True)
            if one["key"] == "file":
                path.write_bytes(base64.b64decode(one["value"]["content"]))
            elif one["key"] == "lfsFile":
                path.write_bytes(self.server.objects[one["value"]["oid"]])
            elif one["key"] == "deletedFile":
                path.unlink()
        self.server.commits[name] = hashlib.sha1(body).hexdigest()
        self._json({"commitUrl": f"{self.server.url}/{name}", "commitOid": self.server.commits[name], "success": True})

    def _file(self, path: Path, commit: str) -> None:
        content = path.read_bytes()
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{_etag(path)}"')
        self.send_header("X-Repo-Commit", commit)
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

    def _error(self, status: int, code: str, message: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message or code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
