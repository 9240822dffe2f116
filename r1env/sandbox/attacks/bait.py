"""Secrets and open doors outside the sandbox, for the attacks to find."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import r1env
from r1env.sandbox import runtime

MARK = "r1leftover"
"""Part of the name of every file that an attack makes."""


class Bait:
    """What an attack may look for. `places` fills the `@NAME@` of its source.

    Attributes:
        secret: Text that exists in this process's memory and environment and in files, and in no sandbox.
        places: Where to look.
        directory: A directory of the caller's machine.
    """

    def __init__(self, directory: Path, shared: Path | None):
        self.secret = secrets.token_hex(16)
        self.directory = directory
        self.listeners = {
            "tcp": socket.create_server(("127.0.0.1", 0)),
            "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "path": socket.socket(socket.AF_UNIX),
            "abstract": socket.socket(socket.AF_UNIX),
            "datagram": socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
            "abstract datagram": socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        }
        self.listeners["udp"].bind(("127.0.0.1", 0))
        name = self.secret[:12]
        with runtime.short(str(directory)) as here:
            for kind, address in {
                "path": f"{here}/socket", "abstract": f"\0{name}",
                "datagram": f"{here}/datagram", "abstract datagram": f"\0{name}-datagram",
            }.items():  # fmt: skip
                self.listeners[kind].bind(address)
                if not address.startswith("\0"):
                    os.chmod(address, 0o777)
                if "datagram" not in kind:
                    self.listeners[kind].listen()
        files = [directory / "secret.txt", *([shared] if shared else [])]
        for file in files:
            file.write_text(self.secret)
        directory.chmod(0o777)  # what keeps it safe is to be the sandbox, not its rights
        passwd = Path("/etc/shadow" if os.access("/etc/shadow", os.R_OK) else "/etc/hostname")
        self.places = {
            "SECRET_FILE": str(files[0]),
            "SHARED_FILE": str(files[-1]),
            "DIRECTORY": str(directory),
            "HOME": str(Path.home()),
            "PROJECT": str(Path(r1env.__file__).parent),
            "PYTHON": sys.executable,
            "PID": str(os.getpid()),
            "TCP": str(self.listeners["tcp"].getsockname()[1]),
            "UDP": str(self.listeners["udp"].getsockname()[1]),
            "SOCKET": str(directory / "socket"),
            "DATAGRAM": str(directory / "datagram"),
            "ABSTRACT": name,
            "DIGEST": hashlib.sha256(passwd.read_bytes() if passwd.exists() else b"").hexdigest(),
        }

    def taken(self) -> list[str]:
        """What reached the outside since the last look: connections, datagrams, files in the bait's directory."""
        found = []
        for kind, listener in self.listeners.items():
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    if listener.type == socket.SOCK_DGRAM:
                        found.append(f"a datagram by {kind}: {listener.recv(4096)!r}")
                    else:
                        listener.accept()[0].close()
                        found.append(f"a connection by {kind}")
        for file in self.directory.iterdir():
            if file.name not in ("secret.txt", "socket", "datagram"):
                found.append(f"the file {file.name}")
                file.unlink()
        if (self.directory / "secret.txt").read_text() != self.secret:
            found.append("the secret was overwritten")
        return found

    def close(self) -> None:
        """Close the doors."""
        for listener in self.listeners.values():
            listener.close()


@contextlib.contextmanager
def lay() -> Iterator[Bait]:
    """Lay the bait; it is gone at the end of the block.

    Yields:
        The bait. To be laid before the sandbox is opened, so that its secret is in the environment by then.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="r1-bait-")))
        shared = Path("/dev/shm", directory.name)
        bait = Bait(directory, shared if os.access("/dev/shm", os.W_OK) else None)
        stack.callback(shared.unlink, missing_ok=True)
        stack.callback(bait.close)
        os.environ["R1_BAIT"] = bait.secret
        stack.callback(os.environ.pop, "R1_BAIT", None)
        yield bait
