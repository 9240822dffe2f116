"""Print one of the README's two set-up commands: `readme_command.py train` or `readme_command.py tests`.

CI runs the very text that a reader copies, so the two cannot drift apart.
"""

import pathlib
import re
import sys

README = pathlib.Path(__file__).parent.parent / "README.md"


def commands() -> dict[str, str]:
    """The first two shell blocks of the README, in order: train, tests."""
    blocks = re.findall(r"^```bash\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {"train": blocks[0].strip(), "tests": blocks[1].strip()}


if __name__ == "__main__":
    print(commands()[sys.argv[1]])
