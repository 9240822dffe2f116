"""The image of the backend `docker`: by the Dockerfile beside this file, or, where no registry is reached, by debootstrap."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from importlib import resources
from typing import Any

from r1env.errors import MissingDependency, SandboxError
from r1env.sandbox.docker import IMAGE, engine

PACKAGES = "python3,g++,nodejs"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"


def build() -> str:
    """Builds the image from the Dockerfile; the engine pulls Debian's own image for it.

    Returns:
        The image's name.

    Raises:
        MissingDependency: the distribution docker is not installed.
        SandboxError: no engine answers, or the build failed.
    """
    source = resources.files("r1env.sandbox") / "Dockerfile"
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "Dockerfile")
        with open(path, "wb") as file:
            file.write(source.read_bytes())
        try:
            _answering().images.build(path=directory, tag=IMAGE, rm=True)
        except SandboxError:
            raise
        except Exception as error:  # the engine's errors are of many kinds
            raise SandboxError(
                f"the image could not be built: {error}. Where no registry is reached: r1-bench sandbox image --debootstrap"
            ) from error
    return IMAGE


def bootstrap(mirror: str = MIRROR) -> str:
    """Makes a small Debian in a directory, and the image of that. For root; needs the program debootstrap.

    Args:
        mirror: Where Debian's packages come from.

    Returns:
        The image's name.

    Raises:
        MissingDependency: debootstrap, or the distribution docker, is not installed.
        SandboxError: not root, no engine answers, or debootstrap failed.
    """
    if shutil.which("debootstrap") is None:
        raise MissingDependency("an image without a registry needs debootstrap: apt-get install debootstrap")
    if os.getuid() != 0:
        raise SandboxError("debootstrap makes files of root's; run this command as root")
    found = _answering()
    with tempfile.TemporaryDirectory(prefix="r1-image-") as directory:
        tree, archive = os.path.join(directory, "tree"), os.path.join(directory, "tree.tar")
        _do(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, tree, mirror])
        left_out = ("./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*", "./dev/*")
        _do(["tar", "-C", tree, *(f"--exclude={path}" for path in left_out), "-cf", archive, "."])
        try:
            found.api.import_image_from_file(archive, repository=IMAGE, tag="latest")
        except Exception as error:
            raise SandboxError(f"the engine did not take the image: {error}") from error
    return IMAGE


def _answering() -> Any:
    found = engine()
    try:
        found.ping()
    except Exception as error:
        raise SandboxError(
            f"no Docker engine answers ({type(error).__name__}); start one, or set DOCKER_HOST"
        ) from error
    return found


def _do(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SandboxError(f"{command[0]} failed: {done.stdout[-500:].decode(errors='replace').strip()}")
