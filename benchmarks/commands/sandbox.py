"""The command line of `r1-bench sandbox`."""

from __future__ import annotations

from benchmarks.parsing import Add, Commands, group


def add_parser(commands: Commands, add: Add) -> None:
    """Adds the command."""
    actions = group(commands, "sandbox", "look after the sandbox that programs run in")
    check = add(
        actions,
        "check",
        "which backends work here",
        "A backend works where it starts and withstands its own test. Exit code 1 where none does.\n\n"
        "example:\n  r1-bench sandbox check --backend bwrap",
    )
    check.add_argument(
        "--backend", metavar="NAME", choices=("bwrap", "landlock", "docker"), help="only this one"
    )
    check.set_defaults(module="benchmarks.sandbox", action="check")
    image = add(
        actions,
        "image",
        "make the image of the Docker backend",
        "By the Dockerfile that comes along, on the engine that DOCKER_HOST names.\n\n"
        "examples:\n  r1-bench sandbox image\n  r1-bench sandbox image --debootstrap",
    )
    image.add_argument(
        "--debootstrap",
        action="store_true",
        help="from Debian's packages, as root, where no registry is reached",
    )
    image.add_argument(
        "--mirror", metavar="URL", default="http://deb.debian.org/debian", help="where those come from"
    )
    image.set_defaults(module="benchmarks.sandbox", action="image")
