"""What trackers have been told of a study, kept in its folder."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path
from typing import Any

from tuneoff.core.errors import UserError
from tuneoff.core.files import read_json, write_json
from tuneoff.spec.schema import TRACKERS

FILE = "tracked.json"


class Remembered:
    """`tracked.json`: by tracker and entry a hash of what was told. Trackers may use it at the same time.

    Args:
        folder: the study's; nothing is written there before something is tracked.

    Raises:
        UserError: where the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._content = self._read()

    @property
    def token(self) -> str:
        """Drawn once for this folder."""
        token: str = self._content["token"]
        return token

    def has(self, tracker: str, what: str, digest: str) -> bool:
        """Whether a tracker has been told exactly this of a run or the study."""
        with self._lock:
            return bool(self._content.get(tracker, {}).get(what) == digest)

    def begin(self) -> None:
        """Writes the token, before anything is known by it."""
        with self._lock:
            write_json(self._path, self._content)

    def note(self, tracker: str, what: str, digest: str) -> None:
        """Remembers that it has been told."""
        with self._lock:
            self._content.setdefault(tracker, {})[what] = digest
            write_json(self._path, self._content)

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {"token": secrets.token_hex(8)}
        try:
            content = read_json(self._path)
            if isinstance(content["token"], str) and all(
                isinstance(content.get(name, {}), dict) for name in TRACKERS.classes()
            ):
                return dict(content)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise UserError(f"{self._path} is damaged; remove it, and runs are tracked again as new ones")
