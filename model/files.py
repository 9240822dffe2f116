"""Safetensors files: their tables of contents, tensors mapped from them, and sharded writing.

Everything that can be wrong with a file is found from its header and, in files written here, from checksums.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from r1env.errors import CheckpointError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
}
"""Stored types that can be read, by their name in a header."""
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_CHECKSUMS = "checksums"
"""Key in a file's metadata: `checksum` of the tensors' bytes, a JSON object by name."""
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where one tensor lies."""

    file: Path
    dtype: str
    """As the header names it."""
    shape: tuple[int, ...]
    begin: int
    """First byte in the file."""
    size: int
    """Bytes."""
    checksum: int | None


def entries(directory: Path) -> dict[str, Entry]:
    """All tensors of a directory's safetensors files, single or sharded, by name.

    Raises:
        CheckpointError: a file is missing or damaged, naming it and what is wrong.
    """
    index = directory / INDEX
    if not index.exists():
        return _header(directory / SINGLE)
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(places.values()))
        if not all(isinstance(file, str) for file in files):
            raise ValueError("a file's name is no text")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} is damaged: {error!r}") from None
    found: dict[str, Entry] = {}
    for file in files:
        found |= _header(directory / file)
    for name, file in places.items():
        if name not in found or found[name].file.name != file:
            raise CheckpointError(f"{index} promises tensor {name!r} in {file}, which does not hold it")
    return found


def _header(file: Path) -> dict[str, Entry]:
    """The table of contents of a safetensors file, every tensor checked to lie within it."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            size = file.stat().st_size
            if size < 8 or length > size - 8:
                raise CheckpointError(f"{file} is damaged: its header is cut off; restore it or save again")
            table = json.loads(stream.read(length))
        checksums = json.loads(table.pop("__metadata__", {}).get(_CHECKSUMS, "{}"))
        if not isinstance(checksums, dict):
            raise ValueError("its checksums are no object")
    except FileNotFoundError:
        raise CheckpointError(f"{file} does not exist: the directory lacks weights") from None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{file} is damaged: its header cannot be read ({error})") from None
    found = {}
    for name, raw in table.items():
        try:
            begin, end = raw["data_offsets"]
            shape = tuple(raw["shape"])
            if not isinstance(raw["dtype"], str) or not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError("neither a type nor a shape")
            entry = Entry(file, raw["dtype"], shape, 8 + length + begin, end - begin, checksums.get(name))
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"{file}: tensor {name!r} is damaged: its header entry is {raw!r}") from None
        width = DTYPES[entry.dtype].itemsize if entry.dtype in DTYPES else None
        if entry.begin + entry.size > size or (width and entry.size != width * torch.Size(shape).numel()):
            raise CheckpointError(
                f"{file}: tensor {name!r} is damaged: its bytes do not fit the file; restore it or save again"
            )
        found[name] = entry
    return found


class Source:
    """An open file, from which tensors are read or mapped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Private and writable, which is what torch asks of a buffer; nothing is ever written.
        self._data = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)

    def tensor(self, entry: Entry) -> Tensor:
        """A tensor of the file as a view of its bytes there; it must not be kept beyond the block that opened it."""
        dtype = DTYPES[entry.dtype]
        if entry.size == 0:
            return torch.empty(entry.shape, dtype=dtype)
        data = torch.frombuffer(self._data, dtype=torch.uint8, count=entry.size, offset=entry.begin)
        if entry.begin % dtype.itemsize:
            data = data.clone()
        return data.view(dtype).view(entry.shape)

    def read(self, name: str, entry: Entry, into: Tensor) -> None:
        """Copies a tensor's numbers to their place, verified.

        Raises:
            CheckpointError: its bytes do not match their checksum, or cannot be read.
        """
        as_stored = into.dtype == DTYPES[entry.dtype] and into.is_contiguous() and into.device.type == "cpu"
        if not as_stored or entry.size == 0:
            self.verify(name, entry)
            into.copy_(self.tensor(entry))
            self.forget(entry)
            return
        # Straight to its place: mapped pages would cost their faults and count as memory of ours.
        target = _bytes(into)
        done = 0
        while done < entry.size:
            count = os.preadv(self._descriptor, [target[done:].data], entry.begin + done)
            if count == 0:
                raise CheckpointError(f"{entry.file}: tensor {name!r} is damaged: its bytes end early")
            done += count
        _compare(name, entry, target)

    def forget(self, entry: Entry) -> None:
        """Gives back the pages that a tensor's bytes were mapped to: they count as memory of ours."""
        first = -(-entry.begin // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (entry.begin + entry.size) // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0 and hasattr(mmap, "MADV_DONTNEED"):
            self._data.madvise(mmap.MADV_DONTNEED, first, length)

    def verify(self, name: str, entry: Entry) -> None:
        """Compares a tensor's bytes with their checksum, where the file has one.

        Raises:
            CheckpointError: they differ.
        """
        if entry.checksum is not None:
            _compare(name, entry, _bytes(self.tensor(entry)))


@contextmanager
def opened(file: Path) -> Iterator[Source]:
    """Opens a file for reading."""
    with file.open("rb") as stream:
        yield Source(stream.fileno())


def _bytes(tensor: Tensor) -> np.ndarray:
    return tensor.detach().flatten().view(torch.uint8).numpy()


def _compare(name: str, entry: Entry, data: np.ndarray) -> None:
    if entry.checksum is not None and checksum(data) != entry.checksum:
        raise CheckpointError(
            f"{entry.file}: tensor {name!r} is damaged: its bytes do not match their checksum; "
            "restore the file or save again"
        )


def checksum(data: np.ndarray) -> int:
    """Of bytes: CRC-32 over the sums, modulo 2^64, of each mebibyte's 64-bit words, and over what is left at the end.

    Several times as fast as CRC-32 of all, and any single damaged word, lost block or exchange of blocks changes it.

    Args:
        data: uint8, one dimension.
    """
    whole = len(data) // _CHUNK * _CHUNK
    sums = data[:whole].view(np.uint64).reshape(-1, _CHUNK // 8).sum(axis=1, dtype=np.uint64)
    return zlib.crc32(data[whole:].data, zlib.crc32(sums.astype("<u8").tobytes()))


def by_file(table: Mapping[str, Entry]) -> dict[Path, list[str]]:
    """Names by file, in the order in which they lie there."""
    found: dict[Path, list[str]] = {}
    for name, entry in sorted(table.items(), key=lambda item: item[1].begin):
        found.setdefault(entry.file, []).append(name)
    return found


@dataclasses.dataclass(frozen=True)
class Later:
    """A tensor that is made when it is written."""

    like: Tensor
    """Its shape and dtype, on the meta device."""
    make: Callable[[], Tensor]
    """Makes it."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the tensor."""
        return self.like.dtype

    def numel(self) -> int:
        """Numbers in it."""
        return self.like.numel()

    def element_size(self) -> int:
        """Bytes a number."""
        return self.like.element_size()


def write(tensors: Mapping[str, Tensor | Later], directory: Path, *, max_shard_bytes: int) -> None:
    """Writes one file, or with an index as many as needed so that none exceeds `max_shard_bytes`.

    Only one shard's tensors are made, and brought to the CPU, at a time.
    """
    shards = list(_shards(tensors, max_shard_bytes))
    if len(shards) == 1:
        _write_file({name: tensors[name] for name in shards[0]}, directory / SINGLE)
        return
    places: dict[str, str] = {}
    for i, names in enumerate(shards, start=1):
        file = f"model-{i:05}-of-{len(shards):06}.safetensors"
        _write_file({name: tensors[name] for name in names}, directory / file)
        places |= dict.fromkeys(names, file)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(tensors: Mapping[str, Tensor | Later], max_bytes: int) -> Iterable[list[str]]:
    names: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        more = tensor.numel() * tensor.element_size()
        if names and size + more > max_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += more
    yield names


def _write_file(tensors: Mapping[str, Tensor | Later], file: Path) -> None:
    from safetensors.torch import save_file

    # Tensors that share memory (a released copy of the embedding) are written twice: each needs its own.
    made = {name: t.make() if isinstance(t, Later) else t for name, t in tensors.items()}
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in made.items()}
    seen: set[int] = set()
    for name, tensor in ready.items():
        if tensor.data_ptr() in seen:
            ready[name] = tensor.clone()
        seen.add(tensor.data_ptr())
    checksums = json.dumps({name: checksum(_bytes(tensor)) for name, tensor in ready.items()})
    save_file(ready, file, {"format": "pt", _CHECKSUMS: checksums})
    _sort_header(file)


def _sort_header(file: Path) -> None:
    """Puts the header's keys in order: safetensors writes metadata as its hash map has it, and equal policies
    must give equal files."""
    with open(file, "r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        metadata = dict(sorted(header.pop("__metadata__").items()))
        text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":"), ensure_ascii=False)
        stream.seek(8)
        stream.write(text.encode().ljust(size))
