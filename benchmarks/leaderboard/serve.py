"""Shows a built site at an address of this machine alone."""

from __future__ import annotations

import functools
import http.server
import sys
from pathlib import Path

from r1env.errors import ConfigError


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody wants a line for each file."""


def serve(directory: Path, port: int) -> None:
    """Serves a directory until Ctrl-C; the address goes to stderr.

    Args:
        directory: The site.
        port: 0 for any that is free.

    Raises:
        ConfigError: the port cannot be had.
    """
    handler = functools.partial(_Quiet, directory=str(directory))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {port} cannot be had ({error}); choose another with --port") from error
    with server:
        print(f"http://127.0.0.1:{server.server_port}/  (Ctrl-C ends it)", file=sys.stderr, flush=True)
        server.serve_forever()
