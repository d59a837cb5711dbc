"""What the stand-in of the Hub answers to clients that write: repositories made, files sent, commits made of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from hub_server import HubServer

LARGE = 10_000
"""Bytes from which on a file is sent as a large one."""
Answer = tuple[int, Any]


def answer(hub: HubServer, method: str, path: str, token: str, body: bytes) -> Answer | None:
    """Status and content; None of what is no request to write."""
    if method == "GET" and path == "/api/whoami-v2":
        return (200, {"type": "user", "name": _user(hub, token)}) if token in hub.tokens else _no_token()
    if method == "PUT" and (sent := re.fullmatch(r"/large/([0-9a-f]{64})", path)):
        if hashlib.sha256(body).hexdigest() != sent[1]:
            return 400, {"error": "the content is another"}
        hub.stored[sent[1]] = body
        return 200, {}
    if method != "POST" or not _is_writing(path):
        return None
    if token not in hub.tokens:
        return _no_token()
    if path == "/api/validate-yaml":
        return _validated(json.loads(body)["content"])
    if path == "/api/repos/create":
        return _create(hub, token, json.loads(body))
    asked = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path)
    batch = re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path)
    found = asked or batch
    assert found is not None
    if ("models", found[1]) not in hub.repositories:
        return 404, {"error": "Repository not found"}
    if found[1].split("/")[0] not in hub.writers.get(token, set()):
        return 403, {"error": "You don't have the rights to write"}
    if batch:
        return 200, _batch(hub, json.loads(body))
    assert asked is not None
    if asked[2] == "preupload":
        return 200, {"files": [_mode(hub, asked[1], file) for file in json.loads(body)["files"]]}
    return _commit(hub, asked[1], [json.loads(line) for line in body.splitlines()])


def _is_writing(path: str) -> bool:
    wrote = ("/api/validate-yaml", "/api/repos/create")
    return path in wrote or re.search(r"/(preupload|commit)/main$|\.git/info/lfs/objects/batch$", path) is not None


def _no_token() -> Answer:
    return 401, {"error": "Invalid credentials in Authorization header"}


def _user(hub: HubServer, token: str) -> str:
    return min(hub.writers.get(token, {"nobody"}))


def _validated(content: str) -> Answer:
    try:
        block = yaml.safe_load(content.split("---")[1]) if content.startswith("---") else {}
        assert isinstance(block, dict)
    except (yaml.YAMLError, AssertionError, IndexError) as error:
        return 400, {"error": "Invalid metadata", "errors": [{"message": str(error)}], "warnings": []}
    return 200, {"errors": [], "warnings": []}


def _create(hub: HubServer, token: str, asked: dict[str, Any]) -> Answer:
    from hub_server import Repository

    owner = asked.get("organization") or _user(hub, token)
    repo_id = f"{owner}/{asked['name']}"
    if owner not in hub.writers.get(token, set()):
        return 403, {"error": f'You don\'t have the rights to create a model under the namespace "{owner}"'}
    if ("models", repo_id) in hub.repositories:
        return 409, {"error": "You already created this model repo", "url": f"{hub.url}/{repo_id}"}
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / ".gitattributes").write_text("*.safetensors filter=lfs\n")
        private = asked.get("private") or asked.get("visibility") == "private"
        place = hub.folder / "models" / repo_id
        hub.repositories["models", repo_id] = Repository("models", repo_id, place, private=private, readers={token})
        hub.commit("models", repo_id, Path(empty))
    return 200, {"url": f"{hub.url}/{repo_id}", "name": repo_id}


def _mode(hub: HubServer, repo_id: str, file: dict[str, Any]) -> dict[str, Any]:
    repository = hub.repositories["models", repo_id]
    before = repository.files(repository.branches["main"]).get(file["path"])
    content = before.read_bytes() if before is not None else None
    blob = None if content is None else hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    large = file["size"] > LARGE or file["path"].endswith(".safetensors")
    mode = "lfs" if large else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None if large else blob}


def _batch(hub: HubServer, asked: dict[str, Any]) -> dict[str, Any]:
    objects = []
    for file in asked["objects"]:
        upload = {"upload": {"href": f"{hub.url}/large/{file['oid']}", "header": {}}}
        objects.append({**file, **({} if file["oid"] in hub.stored else {"actions": upload})})
    return {"transfer": "basic", "objects": objects}


def _commit(hub: HubServer, repo_id: str, lines: list[dict[str, Any]]) -> Answer:
    repository = hub.repositories["models", repo_id]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, path in repository.files(repository.branches["main"]).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(path.read_bytes())
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                _write(root / value["path"], base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in hub.stored:
                    return 400, {"error": f"{value['path']} has not been sent"}
                _write(root / value["path"], hub.stored[value["oid"]])
            elif line["key"] == "deletedFile":
                (root / value["path"]).unlink()
        commit = hub.commit("models", repo_id, root)
    return 200, {"commitUrl": f"{hub.url}/{repo_id}/commit/{commit}", "commitOid": commit, "success": True}


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
