"""End a blocked read of a stream from another thread: by shutting the socket below it down.

Closing a response elsewhere does not wake a thread that is blocked in ``recv``; shutting the socket down
does.  Found are the sockets of httpx and its kin (the ``network_stream`` extension), ``http.client`` and
urllib3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket
    from typing import Any

_MOST_LOOKED_AT = 64
_BELOW = (
    *("response", "_response", "http_response", "_raw_stream", "_raw_response", "raw"),
    *("_fp", "fp", "_original_response", "_sock"),
)


def shut_down(stream: object) -> bool:
    """Shut the socket below *stream* down; False when none is found, or it is not this stream's alone."""
    import socket

    found = _socket_below(stream)
    if found is None:
        return False
    try:
        # Not the method of an SSLSocket: that forgets its TLS state under the reader's feet.
        socket.socket.shutdown(found, socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already
    return True


def _socket_below(stream: object) -> socket | None:
    """Walk down what a stream is made of, breadth first and not far."""
    import socket

    waiting: list[Any] = [stream]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_LOOKED_AT:
        holder = waiting.pop(0)
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        if isinstance(holder, socket.socket):
            return holder
        extensions = getattr(holder, "extensions", None)
        if isinstance(extensions, dict) and "network_stream" in extensions:
            if extensions.get("http_version") == b"HTTP/2":
                return None  # others talk through it, too
            found = extensions["network_stream"].get_extra_info("socket")
            return found if isinstance(found, socket.socket) else None
        waiting += [below for name in _BELOW if (below := getattr(holder, name, None)) is not None]
    return None
