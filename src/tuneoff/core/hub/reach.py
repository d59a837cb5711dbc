"""Whether and how the Hub is reached: its address, proxies, and how long it may keep silent."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
SILENCES = 2
"""So many requests in a row may stay without an answer; the libraries would try for many minutes."""
WHOLE_NUMBERS = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")
TRUE = {"1", "ON", "YES", "TRUE"}


def check_environment() -> None:
    """Refuses environment variables at which huggingface_hub would fail where it is imported, model on disk or not.

    Raises:
        UserError: that names the variable.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "")
    try:
        _ = urlsplit(endpoint).hostname
    except ValueError as error:
        raise UserError(_endpoint_fault(endpoint) or str(error)) from error
    for name in WHOLE_NUMBERS:
        text = os.environ.get(name)
        try:
            int(text or "1")
        except ValueError as error:
            raise UserError(f"the environment variable {name} = '{text}' must be a whole number of seconds") from error


def _endpoint_fault(endpoint: str) -> str | None:
    """What is wrong with an address of the Hub, in words."""
    if not endpoint.strip():
        return "the environment variable HF_ENDPOINT is empty; unset it, or set it to https://huggingface.co"
    try:
        parts = urlsplit(endpoint)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if sound and endpoint.isprintable() and not any(character.isspace() for character in endpoint):
        return None
    return (
        f"the environment variable HF_ENDPOINT = '{endpoint}' is no address of a Hub; it begins with https:// or "
        "http://, as in https://huggingface.co"
    )


@cache
def unreachable() -> str | None:
    """Why the Hub cannot be asked, in words; None where it answers. Asked once a process."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        if os.environ.get(name, "").upper() in TRUE:
            return f"{name} is set"
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    fault = _endpoint_fault(endpoint)
    if fault is not None:
        return fault
    import httpx

    try:
        session().head(endpoint, timeout=CONNECT_SECONDS)
    except UserError as error:
        return str(error)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return connection_fault(error)
    return None


def connection_fault(error: Exception) -> str:
    """What a failed connection is, in words."""
    import httpx

    where = f"at {os.environ.get('HF_ENDPOINT') or 'https://huggingface.co'}"
    proxy = next((name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())), None)
    through = f"; {proxy} sets a proxy" if proxy and not isinstance(error, httpx.ReadTimeout) else ""
    if isinstance(error, UnansweredError | httpx.TimeoutException):
        return f"there is no answer {where}{through}"
    words = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{words} {where}{through}"


_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


class UnansweredError(Exception):
    """Several requests in a row have got no answer. No error of httpx, which its users would try again."""


@cache
def session() -> httpx.Client:
    """Makes huggingface_hub and datasets use a client that gives up in bounded time, and returns their session.

    Raises:
        UserError: where the environment names a proxy that cannot be used.
    """
    import httpx
    from huggingface_hub import get_session, set_client_factory
    from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT

    lock = threading.Lock()
    silences = 0

    class Impatient(httpx.Client):
        """Waits for each part of an answer as long as `HF_HUB_DOWNLOAD_TIMEOUT` says (10 s), whoever asks."""

        def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            nonlocal silences
            asked = request.extensions.get("timeout") or {}
            longest = {"connect": CONNECT_SECONDS, "read": HF_HUB_DOWNLOAD_TIMEOUT, "write": HF_HUB_DOWNLOAD_TIMEOUT}
            request.extensions["timeout"] = asked | {
                name: most if asked.get(name) is None else min(asked[name], most) for name, most in longest.items()
            }
            try:
                response = super().send(request, **options)
            except httpx.TimeoutException as error:
                with lock:
                    silences += 1
                    if silences < SILENCES:
                        raise
                raise UnansweredError(f"no answer from {request.url.host}") from error
            with lock:
                silences = 0
            return response

    try:
        hooks = get_session().event_hooks
        set_client_factory(lambda: Impatient(event_hooks=hooks, follow_redirects=True))
        return get_session()
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        named = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
        raise UserError(
            f"the proxy of the environment variable {' or '.join(named) or 'NO_PROXY'} cannot be used: {error}"
        ) from error
