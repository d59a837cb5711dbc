"""A stand-in for the Hugging Face Hub on loopback, for the real clients: what of its HTTP interface they use.

Repositories lie in a folder, a copy for each commit. Gated and private ones answer with the Hub's own statuses and
headers, and the server can be told to break connections, keep silent, or fail.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import hub_writing

KINDS = ("models", "datasets")
VERBS = ("revision", "tree", "paths-info", "refs", "resolve")


@dataclass
class Repository:
    """A model or dataset: where its commits are kept, and who may read it."""

    kind: str
    id: str
    folder: Path
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    private: bool = False
    gated: bool = False
    readers: set[str] = field(default_factory=set)
    """Tokens that may read it where it is private or gated."""

    def commit(self, revision: str) -> str | None:
        """What a branch, tag or commit is."""
        return (self.branches | self.tags | {commit: commit for commit in self.commits}).get(revision)

    def files(self, commit: str) -> dict[str, Path]:
        """The files of a commit by name."""
        root = self.folder / commit
        return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}


@dataclass
class HubServer:
    """The stand-in; see `hub_server`."""

    folder: Path
    port: int = 0
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    """Old names, which are redirected to new ones."""
    tokens: set[str] = field(default_factory=set)
    """That are valid at all."""
    writers: dict[str, set[str]] = field(default_factory=dict)
    """By token, the owners under whose names it may write; the first in order is the user."""
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files that have been sent, by SHA-256."""
    refusing: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By pattern of paths, the status and the message with which they are answered."""
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path with query, and status of all that was asked, in order."""
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """By name of a file: after so many bytes its next downloads are cut off, one entry a download."""
    silent: re.Pattern[str] | None = None
    """Paths to which no answer ever comes."""
    failing: re.Pattern[str] | None = None
    """Paths that are answered with error 503."""
    seconds_a_chunk: float = 0.0
    """How slowly files are sent, in chunks of 64 KiB."""
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """To be set as HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def commit(self, kind: str, repo_id: str, source: Path, branch: str = "main") -> str:
        """Makes the files in `source` the newest commit of a repository's branch; returns the commit."""
        repository = self.repositories.setdefault(
            (kind, repo_id), Repository(kind, repo_id, self.folder / kind / repo_id)
        )
        content = "".join(f"{path.relative_to(source)} {_sha1(path)}\n" for path in sorted(source.rglob("*")))
        commit = hashlib.sha1(f"{len(repository.commits)} {branch}\n{content}".encode()).hexdigest()
        shutil.copytree(source, repository.folder / commit)
        repository.commits.append(commit)
        repository.branches[branch] = commit
        return commit

    def asked(self, pattern: str) -> int:
        """How many requests had a path that matches."""
        return sum(re.search(pattern, path) is not None for _, path, _ in self.requests)


@contextmanager
def hub_server(folder: Path) -> Iterator[HubServer]:
    """A Hub without repositories, on a free port of this machine; it ends with the block."""
    hub = HubServer(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.closed.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *arguments: object) -> None: ...

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.hub.silent is not None and self.hub.silent.search(path):
            self.hub.requests.append((self.command, self.path, 0))
            self.hub.closed.wait(60)
            self.close_connection = True
        elif self.hub.failing is not None and self.hub.failing.search(path):
            self._json(503, {"error": "Service unavailable"})
        elif refused := [answer for pattern, answer in self.hub.refusing.items() if re.search(pattern, path)]:
            self._error(refused[0][0], "", refused[0][1])
        elif path == "/":
            self._reply(200)
        elif (written := hub_writing.answer(self.hub, self.command, path, self._token, body)) is not None:
            status, content = written
            if status < 400:
                self._json(status, content)
            else:
                self._json(status, content, X_Error_Message=content["error"])
        elif path.startswith("/api/"):
            self._api(path.removeprefix("/api/"), query, body)
        else:
            kind = "datasets" if path.startswith("/datasets/") else "models"
            self._repository(kind, path.removeprefix("/datasets").removeprefix("/"), query, body)

    @property
    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _api(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        kind, _, rest = path.partition("/")
        if kind not in KINDS:
            self._error(404, "", "Not found")
        elif rest:
            self._repository(kind, rest, query, body)
        else:
            wanted, most = query.get("search", [""])[0].lower(), int(query.get("limit", ["1000"])[0])
            found = [repository for (of, _), repository in self.hub.repositories.items() if of == kind]
            shown = [repository for repository in found if wanted in repository.id.lower() and not repository.private]
            self._json(200, [_info(repository, repository.branches["main"], False) for repository in shown[:most]])

    def _repository(self, kind: str, path: str, query: dict[str, list[str]], body: bytes) -> None:
        segments = path.split("/")
        owned = len(segments) > 1 and segments[1] not in VERBS
        repo_id = "/".join(segments[: 1 + owned])
        verb, *rest = segments[1 + owned :] or ["revision", "main"]
        if repo_id in self.hub.renamed:
            new = self.path.replace(repo_id, self.hub.renamed[repo_id], 1)
            self._reply(307, Location=new)
            return
        token = self._token
        repository = self.hub.repositories.get((kind, repo_id))
        if token and token not in self.hub.tokens:
            self._error(401, "", "Invalid credentials in Authorization header")
        elif repository is None or (repository.private and token not in repository.readers):
            if token:
                self._error(404, "RepoNotFound", "Repository not found")
            else:  # so that nobody learns which private repositories there are
                self._error(401, "RepoNotFound", "Invalid username or password.")
        elif verb == "refs":
            self._refs(repository)
        elif (commit := repository.commit(rest[0] if rest else "main")) is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {rest[0]}")
        elif verb == "revision":
            self._json(200, _info(repository, commit, "blobs" in query))
        elif verb == "tree":
            self._json(200, _tree(repository, commit, "/".join(rest[1:]), query))
        elif verb == "paths-info":
            self._json(200, _paths_info(repository, commit, body))
        elif repository.gated and token not in repository.readers:
            self._error(403 if token else 401, "GatedRepo", f"Access to {kind[:-1]} {repo_id} is restricted.")
        else:
            self._file(repository, commit, "/".join(rest[1:]))

    def _refs(self, repository: Repository) -> None:
        named = {"branches": repository.branches, "tags": repository.tags}
        lists = {
            key: [{"name": name, "ref": f"refs/{key}/{name}", "targetCommit": commit} for name, commit in refs.items()]
            for key, refs in named.items()
        }
        self._json(200, {**lists, "converts": []})

    def _file(self, repository: Repository, commit: str, name: str) -> None:
        path = repository.files(commit).get(name)
        if path is None:
            self._error(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
            return
        content = path.read_bytes()
        headers = {"ETag": f'"{_sha1(path)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        status = 200
        if asked:
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[first : last + 1], 206
        self._start(status, len(content), headers)
        if self.command == "HEAD":
            return
        cuts = self.hub.cuts.get(name)
        sent = content[: cuts.pop(0)] if cuts else content
        for start in range(0, len(sent), 65_536):
            time.sleep(self.hub.seconds_a_chunk)
            self.wfile.write(sent[start : start + 65_536])
        if len(sent) < len(content):
            self.wfile.flush()
            self.close_connection = True

    def _error(self, status: int, code: str, message: str, **headers: str) -> None:
        named = {"X_Error_Code": code} if code else {}
        self._json(status, {"error": message}, X_Error_Message=message, **named, **headers)

    def _json(self, status: int, value: Any, **headers: str) -> None:
        self._reply(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def _reply(self, status: int, content: bytes = b"", **headers: str) -> None:
        self._start(status, len(content), {name.replace("_", "-"): value for name, value in headers.items()})
        if self.command != "HEAD":
            self.wfile.write(content)

    def _start(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.hub.requests.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()


def _info(repository: Repository, commit: str, sizes: bool) -> dict[str, Any]:
    files = repository.files(commit)
    siblings = [{"rfilename": name, **({"size": path.stat().st_size} if sizes else {})} for name, path in files.items()]
    return {
        "_id": hashlib.sha1(repository.id.encode()).hexdigest()[:24],
        "id": repository.id,
        "sha": commit,
        "lastModified": "2024-01-04T12:09:45.000Z",
        "private": repository.private,
        "gated": "auto" if repository.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "siblings": siblings,
        **({"modelId": repository.id} if repository.kind == "models" else {}),
    }


def _tree(repository: Repository, commit: str, below: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
    recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
    prefix = f"{below}/" if below else ""
    entries: dict[str, dict[str, Any]] = {}
    for name, path in repository.files(commit).items():
        if name.startswith(prefix):
            inside = name.removeprefix(prefix).split("/")
            for depth in range(1, len(inside) if recursive else min(len(inside), 2)):
                folder = prefix + "/".join(inside[:depth])
                entries[folder] = _folder(folder)
            if recursive or len(inside) == 1:
                entries[name] = _entry(name, path)
    return list(entries.values())


def _paths_info(repository: Repository, commit: str, body: bytes) -> list[dict[str, Any]]:
    asked = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
    files = repository.files(commit)
    found = []
    for name in asked:
        if name in files:
            found.append(_entry(name, files[name]))
        elif any(file.startswith(f"{name}/") for file in files):
            found.append(_folder(name))
    return found


def _entry(name: str, path: Path) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": path.stat().st_size, "oid": _sha1(path)}


def _folder(name: str) -> dict[str, Any]:
    return {"type": "directory", "path": name, "size": 0, "oid": hashlib.sha1(name.encode()).hexdigest()}


def _sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest() if path.is_file() else ""
