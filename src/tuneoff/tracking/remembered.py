"""What trackers have been told of a study, kept in its folder."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from tuneoff.core.errors import UserError
from tuneoff.core.files import read_json, write_json

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
        self.token, self._told = self._read()
        """The token is drawn once for this folder."""

    def has(self, tracker: str, what: str, digest: str) -> bool:
        """Whether a tracker has been told exactly this of a run or the study."""
        with self._lock:
            return self._told.get(tracker, {}).get(what) == digest

    def begin(self) -> None:
        """Writes the token, before anything is known by it."""
        with self._lock:
            self._write()

    def note(self, tracker: str, what: str, digest: str) -> None:
        """Remembers that it has been told."""
        with self._lock:
            self._told.setdefault(tracker, {})[what] = digest
            self._write()

    def _write(self) -> None:
        write_json(self._path, {"token": self.token, **self._told})

    def _read(self) -> tuple[str, dict[str, dict[str, str]]]:
        if not self._path.exists():
            return secrets.token_hex(8), {}
        try:
            content = dict(read_json(self._path))
            token = content.pop("token")
            if isinstance(token, str) and all(isinstance(told, dict) for told in content.values()):
                return token, content
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise UserError(f"{self._path} is damaged; remove it, and runs are tracked again as new ones")
