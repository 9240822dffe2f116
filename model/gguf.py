"""Turns a GGUF file into a Hugging Face directory: `python -m model.gguf FILE DIR`.

So that a pretrained model which is only to be had as GGUF can be trained (quantised weights are expanded
to float32). Architectures are those that transformers can read from GGUF: Llama, Qwen, SmolLM and more.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from r1env.errors import CheckpointError, MissingDependency, R1Error


def convert(file: str | Path, directory: str | Path) -> None:
    """Writes the Hugging Face directory of a GGUF file: weights in float32, config, tokenizer, chat template.

    Args:
        file: The GGUF file.
        directory: Where to; must not exist.

    Raises:
        CheckpointError: the file is missing or cannot be read as GGUF, or the directory exists.
        MissingDependency: gguf or accelerate is not installed.
        RunError: the directory cannot be written.
    """
    file, directory = Path(file), Path(directory)
    if directory.exists():
        raise CheckpointError(f"{directory} exists already; name a new directory, or remove it")
    _check_magic(file)
    try:
        import accelerate  # noqa: F401
        import gguf  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"converting needs {error.name}: pip install 'r1-gym[gguf]'") from None
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from model.checkpoint import replaced

    folder, name = str(file.resolve().parent), file.name
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name)
    except Exception as error:  # whatever a damaged file makes the readers raise
        raise CheckpointError(f"{file} cannot be read as GGUF: {type(error).__name__}: {error}") from error
    # What was read still counts itself as quantised; a fresh model with its weights does not.
    settings = {k: v for k, v in read.config.to_dict().items() if k not in _DROPPED}
    model = type(read)(type(read.config)(**settings))
    model.load_state_dict(read.state_dict(), strict=True)
    model.generation_config = read.generation_config
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    with replaced(directory) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


# The first would make save_pretrained refuse; the second is a remark of whoever made the file.
_DROPPED = ("quantization_config", "_model_name_or_path")


def _check_magic(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except FileNotFoundError:
        raise CheckpointError(f"{file} does not exist; give the path of a .gguf file") from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}") from None
    if magic != b"GGUF":
        raise CheckpointError(f"{file} is no GGUF file: it begins with {magic!r} instead of b'GGUF'")


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.gguf", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", metavar="FILE", help="a .gguf file")
    parser.add_argument("directory", metavar="DIR", help="a new directory for the Hugging Face model")
    parsed = parser.parse_args(arguments)
    try:
        convert(parsed.file, parsed.directory)
    except R1Error as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(parsed.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
