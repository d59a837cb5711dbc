"""Who carries out a study: one process at a time, which others can name."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import psutil

from tuneoff.core.errors import UserError
from tuneoff.core.files import read_json, write_json
from tuneoff.records.driver import Driver

LOCK = ".lock"
DRIVER = "driver.json"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps a second process that trains out of a study's folder; the lock ends with the process, however it ends.

    Raises:
        UserError: where another process holds the lock, or the folder cannot be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except filelock.Timeout as error:
        driver = running_driver(folder)
        who = f" (process {driver.pid} on {driver.host})" if driver else ""
        raise UserError(f"another tuneoff{who} is at work in {folder}; wait until it has ended") from error
    except OSError as error:
        raise _cannot_be_written(folder, error) from error
    try:
        try:
            write_json(folder / DRIVER, _this_process().model_dump(mode="json"))
        except OSError as error:
            raise _cannot_be_written(folder, error) from error
        yield
    finally:
        with suppress(OSError):  # a disk that cannot be written any more must not hide what happened before
            (folder / DRIVER).unlink(missing_ok=True)
            _remove_if_unused(folder, made)
        lock.release()


def running_driver(folder: Path) -> Driver | None:
    """The process that runs the study in a folder now; None where there is none.

    A driver on this host that has died is recognised and left out.
    """
    try:
        driver = Driver.model_validate(read_json(folder / DRIVER))
        if driver.host != platform.node():
            return driver
        process = psutil.Process(driver.pid)
        same = abs(process.create_time() - driver.process_created) < 1
        return driver if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None


def _this_process() -> Driver:
    created = psutil.Process().create_time()
    return Driver(pid=os.getpid(), host=platform.node(), started=time.time(), process_created=created)


def _cannot_be_written(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder} cannot be written: {os.strerror(error.errno) if error.errno else error}")


def _remove_if_unused(folder: Path, made: list[Path]) -> None:
    """Leaves no trace of a study that was refused: removes the folders made for it if they hold only the lock.

    The lock is held still, so that nobody else has taken it when its file goes.
    """
    if [path.name for path in folder.iterdir()] == [LOCK]:
        (folder / LOCK).unlink()
    for path in made:
        if any(path.iterdir()):
            return
        path.rmdir()
