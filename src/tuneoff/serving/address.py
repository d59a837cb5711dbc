"""The address that a server listens at, taken before models are loaded: one that is not free is said at once."""

from __future__ import annotations

import os
import socket

from tuneoff.core.errors import UserError


def bound(host: str, port: int) -> socket.socket:
    """A socket with an address; it listens once there is something to answer with.

    Args:
        host: an address of this machine, or a name of it.
        port: 0 for a free one.

    Raises:
        UserError: where there is no such address, it is taken, or it may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host: '{host}' is no address of this machine ({error})") from error
    taken = socket.socket(family, kind, protocol)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(address)
    except OSError as error:
        taken.close()
        why = os.strerror(error.errno or 0)
        raise UserError(f"cannot listen at {bracketed(host)}:{port}: {why}; choose another --host or --port") from error
    return taken


def bracketed(host: str) -> str:
    """A host as URLs have it."""
    return f"[{host.lower()}]" if ":" in host else host.lower()
