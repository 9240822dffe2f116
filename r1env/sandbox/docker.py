"""The backend `docker`: a hardened container of a Docker engine, which lives as long as the zygote in it.

No network, a read-only root, no capabilities but those that give each job a user id of its own and end its processes,
bounded memory and processes. `r1-bench sandbox image` makes the image.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from typing import IO, Any

from r1env.errors import MissingDependency, SandboxError
from r1env.sandbox import runtime
from r1env.sandbox.zygote import START_TIMEOUT_S, Zygote

IMAGE = "r1-sandbox"
_LABEL = "r1-sandbox"
_FIRST_UID, _UIDS_EACH, _BLOCKS = 10_000, 5, 10_000
"""User ids, which are the machine's where the engine does not map them: its limit on processes counts them together."""
_INSIDE, _MEETING = "/sandbox", "/run/r1"
_CAPABILITIES = ("SETUID", "SETGID", "KILL", "CHOWN", "SETPCAP")
"""Of the zygote; the last to see to it that no program can gain any."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/alternatives", "/etc/ld.so.cache", _INSIDE)


def why_not() -> str | None:
    """Why no container can be had here; None if one may."""
    try:
        found = engine()
        found.ping()
    except MissingDependency as error:
        return str(error)
    except Exception as error:
        return f"no Docker engine answers ({type(error).__name__}); start one, or set DOCKER_HOST"
    if not found.images.list(IMAGE):
        return f"the engine has no image {IMAGE!r}: r1-bench sandbox image"
    return None


def start() -> Zygote:
    """Starts a zygote in a new container.

    Raises:
        MissingDependency: the distribution docker is not installed.
        SandboxError: the container could not start, or the engine is on another machine.
    """
    (*uids, sweeper), lock = runtime.user_ids("docker", _FIRST_UID, _UIDS_EACH, _BLOCKS)
    files = runtime.files()
    meeting = os.path.join(files, "meeting")
    os.mkdir(meeting, 0o700)
    settings = {
        "isolation": "uid", "uids": uids, "sweeper": sweeper, "socket": f"{_MEETING}/socket",
        "work": "/tmp", "landlock": "where it can be had", "readable": _SYSTEM, "devices": runtime.DEVICES,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        stack.callback(lock.close)
        stack.callback(runtime.remove, files)
        process = _Container(_run(settings, files, meeting))
        stack.callback(process.kill)
        zygote = Zygote(process, _connected(os.path.join(meeting, "socket"), process), process.errors)
        zygote.at_end(stack.pop_all().close)
    return zygote


def _run(settings: dict[str, Any], files: str, meeting: str) -> Any:
    """A new container of the engine."""
    try:
        found = engine()
        _remove_left(found)
        return found.containers.run(
            IMAGE,
            runtime.command(_INSIDE, settings, "/usr/bin/python3"),
            detach=True,
            auto_remove=False,
            init=True,
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": "size=256m,nr_inodes=16k,mode=711,nosuid,nodev,exec"},
            volumes={files: {"bind": _INSIDE, "mode": "ro"}, meeting: {"bind": _MEETING, "mode": "rw"}},
            cap_drop=["ALL"],
            cap_add=list(_CAPABILITIES),
            security_opt=["no-new-privileges"],
            mem_limit="4g",
            memswap_limit="4g",
            pids_limit=256,
            user="0:0",
            environment=runtime.ENVIRONMENT,
            labels={_LABEL: str(os.getpid())},
        )
    except Exception as error:  # the engine's errors are of many kinds
        raise SandboxError(f"the container could not start: {error}") from error


def _remove_left(found: Any) -> None:
    """Containers that have ended without their owner, who was killed."""
    for container in found.containers.list(all=True, filters={"label": _LABEL, "status": "exited"}):
        with contextlib.suppress(Exception):
            container.remove()


class _Container:
    """A container, as `Zygote` asks for a process."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._ended = False
        self.errors: IO[bytes] = io.BytesIO()
        container.reload()
        self.pid = int(container.attrs["State"]["Pid"])

    def poll(self) -> int | None:
        """None while it runs."""
        return 0 if self._ended or not os.path.exists(f"/proc/{self.pid}") else None

    def wait(self, timeout: float | None = None) -> None:
        """Removes it with what it wrote; it never has anything to finish."""
        self.kill()

    def kill(self) -> None:
        """Removes it."""
        if not self._ended:
            self._ended = True
            with contextlib.suppress(Exception):
                self.errors.write(self._container.logs()[-2000:])
            with contextlib.suppress(Exception):
                self._container.remove(force=True)


def _connected(path: str, process: _Container) -> socket.socket:
    deadline = time.monotonic() + START_TIMEOUT_S
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    while True:
        try:
            with runtime.short(os.path.dirname(path)) as here:
                connection.connect(f"{here}/{os.path.basename(path)}")
            return connection
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                said = (
                    process.errors.getvalue().decode(errors="replace")
                    if isinstance(process.errors, io.BytesIO)
                    else ""
                )
                raise SandboxError(
                    f"the container does not answer (is the engine on another machine?): {said.strip()}"
                ) from None
            time.sleep(0.02)


def engine() -> Any:
    """A client of the engine that DOCKER_HOST names.

    Raises:
        MissingDependency: the distribution docker is not installed.
    """
    try:
        import docker
    except ImportError as error:
        raise MissingDependency(
            "the backend 'docker' needs the distribution docker: pip install 'r1-gym[docker]'"
        ) from error
    return docker.from_env()
