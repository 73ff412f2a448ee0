"""A data set or a checkpoint as parts of a given size, to be moved to another machine: `make pack DATA=.. PART_MB=60`.

A folder of part_0000, part_0001, ... and packed.json. The parts, one after the other, are a tar file, which
`cat part_* | tar x` unpacks; packed.json says where in it each file stands and what the hash of each part is. A packed
data set is trained from as it is. Only the files of the folder itself are packed, not those of folders in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from udg_description.errors import cli, explain
from udg_description.files import user_path, whole_folder
from udg_policy.errors import DatasetError

INDEX_NAME = "packed.json"
_SCHEMA = 1
_MB = 1_000_000
_PADDING = tarfile.BLOCKSIZE
_END = bytes(2 * tarfile.BLOCKSIZE)  # of a tar file


class _Place(NamedTuple):
    """Where a file stands in the parts."""

    offset: int
    size: int


class PackedFolder:
    """Files of a packed folder, read where they are. Raises DatasetError for a folder that is not one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            index = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
            if index["schema"] != _SCHEMA:
                raise DatasetError(f"{folder / INDEX_NAME}: has schema {index['schema']}, this program reads {_SCHEMA}")
            self.part_bytes = int(index["part_bytes"])
            self.parts: list[dict[str, Any]] = list(index["parts"])
            self._places = {str(name): _Place(int(offset), int(size)) for name, offset, size in index["files"]}
        except OSError as error:
            raise DatasetError(f"{folder / INDEX_NAME}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{folder / INDEX_NAME}: is not the index of a packed folder (truncated?)") from error
        self._look_for_parts()

    def _look_for_parts(self) -> None:
        for part in self.parts:
            path = self.folder / part["file"]
            if not path.is_file():
                raise DatasetError(f"{path}: is missing; all {len(self.parts)} parts are needed")
            size = path.stat().st_size
            if size != part["bytes"]:
                raise DatasetError(f"{path}: has {size} bytes, should have {part['bytes']}; copy it again")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all files, sorted."""
        return tuple(sorted(self._places))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self._places[name].size

    def read(self, name: str, size: int = -1) -> bytes:
        """The first `size` bytes of a file, or all of it. Not verified: episodes and weights carry their own hashes."""
        if name not in self._places:
            raise DatasetError(f"{self.folder / name}: no such file in the packed folder")
        place = self._places[name]
        return self._range(place.offset, place.size if size < 0 else min(size, place.size))

    def _range(self, start: int, count: int) -> bytes:
        pieces = []
        while count > 0:
            number, at = divmod(start, self.part_bytes)
            path = self.folder / self.parts[number]["file"]
            try:
                with open(path, "rb") as stream:
                    stream.seek(at)
                    piece = stream.read(min(count, self.part_bytes - at))
            except OSError as error:
                raise DatasetError(explain(error, path)) from error
            if not piece:
                raise DatasetError(f"{path}: is truncated; copy it again")
            pieces.append(piece)
            start, count = start + len(piece), count - len(piece)
        return b"".join(pieces)

    def verify(self) -> None:
        """Read all parts. Raises DatasetError for one that is not as it was packed."""
        for part in self.parts:
            path = self.folder / part["file"]
            if hashlib.sha256(path.read_bytes()).hexdigest() != part["sha256"]:
                raise DatasetError(f"{path}: is not as it was packed (checksum); copy it again")


def is_packed(folder: Path) -> bool:
    """Whether a folder is a packed one."""
    return (folder / INDEX_NAME).is_file()


def pack(source: Path, out: Path, part_mb: float) -> PackedFolder:
    """Pack the files of a folder into `out` (new or empty), in parts of at most `part_mb` MB.

    The same files give the same parts. Raises DatasetError.
    """
    part_bytes = int(part_mb * _MB)
    if part_bytes < 1:
        raise DatasetError(f"pack: parts of {part_mb} MB; valid: more than 0")
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder")
    if is_packed(source):
        raise DatasetError(f"{source}: is packed already; unpack it first")
    paths = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise DatasetError(f"{source}: holds no file to pack")
    try:
        with whole_folder(out) as folder:
            _write(paths, folder, part_bytes)
    except OSError as error:
        raise DatasetError(explain(error)) from error
    return PackedFolder(out)


def _write(paths: Sequence[Path], folder: Path, part_bytes: int) -> None:
    files: list[tuple[str, int, int]] = []
    parts = [
        {"file": name, "bytes": size, "sha256": digest}
        for name, size, digest in _cut(_tar(paths, files), folder, part_bytes)
    ]
    index = {"schema": _SCHEMA, "part_bytes": part_bytes, "parts": parts, "files": files}
    (folder / INDEX_NAME).write_text(json.dumps(index, indent=0) + "\n", encoding="utf-8")


def _tar(paths: Sequence[Path], files: list[tuple[str, int, int]]) -> Iterator[bytes]:
    """The bytes of a tar file, and where in it each file stands; without times and owners."""
    offset = 0
    for path in paths:
        data = path.read_bytes()
        member = tarfile.TarInfo(path.name)
        member.size, member.mode = len(data), 0o644
        header = member.tobuf(tarfile.PAX_FORMAT)
        files.append((path.name, offset + len(header), len(data)))
        padded = data + bytes(-len(data) % _PADDING)
        offset += len(header) + len(padded)
        yield header + padded
    yield _END


def _cut(stream: Iterable[bytes], folder: Path, part_bytes: int) -> Iterator[tuple[str, int, str]]:
    """Write a stream as parts; name, size and hash of each."""
    kept = bytearray()
    number = 0

    def write(data: bytes) -> tuple[str, int, str]:
        name = f"part_{number:04d}"
        (folder / name).write_bytes(data)
        return name, len(data), hashlib.sha256(data).hexdigest()

    for piece in stream:
        kept += piece
        while len(kept) >= part_bytes:
            yield write(bytes(kept[:part_bytes]))
            del kept[:part_bytes]
            number += 1
    if kept:
        yield write(bytes(kept))


def unpack(packed: Path, out: Path) -> Path:
    """The files of a packed folder, verified, in `out` (new or empty). Raises DatasetError."""
    folder = PackedFolder(packed)
    folder.verify()
    try:
        with whole_folder(out) as work:
            for name in folder.names:
                if Path(name).name != name:
                    raise DatasetError(f"{packed}: names a file {name!r}; valid are names without folders")
                (work / name).write_bytes(folder.read(name))
    except OSError as error:
        raise DatasetError(explain(error)) from error
    return out


def run(argv: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    parser = argparse.ArgumentParser(prog="udg pack", description="Pack a folder into parts, or unpack it.")
    parser.add_argument("folder", type=user_path, help="data set, checkpoint or, with --unpack, packed folder")
    parser.add_argument("--out", type=user_path, required=True, help="new folder")
    parser.add_argument("--part-mb", type=float, default=60.0, help="largest part in MB (10^6 bytes; default: 60)")
    parser.add_argument("--unpack", action="store_true")
    options = parser.parse_args(argv)
    if options.unpack:
        unpack(options.folder, options.out)
        print(json.dumps({"out": str(options.out), "files": len(list(options.out.iterdir()))}))
        return
    packed = pack(options.folder, options.out, options.part_mb)
    print(
        json.dumps(
            {
                "out": str(options.out),
                "files": len(packed.names),
                "parts": len(packed.parts),
                "mb": round(sum(part["bytes"] for part in packed.parts) / _MB, 1),
            }
        )
    )


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
