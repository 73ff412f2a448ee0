"""The file of an episode: HDF5 behind a user block of 512 bytes that holds the checksum of all the rest.

    udg-episode <schema> <SHA-256 of everything after this line>\\n
    {"bytes": length of the file, "content": SHA-256 of the content, "frames": T}\\n, zeros up to 512
    HDF5: data sets of the episode, attributes `meta` (JSON), `joint_names`, `step_s`, `metre`

Any HDF5 tool reads it. Coordinates are int16 in units of 1/8192 m (`metre` units are one metre), planar, so that
the error is at most 0.061 mm and the range +-4 m; chunks of 8 frames are shuffled, deflated and have a Fletcher-32.
The content hash is that of the stored values and the meta data, not of their compression.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import NamedTuple

import h5py
import numpy as np

from udg_description.clock import STEP_S
from udg_description.layout import JOINT_NAMES
from udg_description.robot import current_robot
from udg_policy.episodes.episode import EPISODE_ARRAYS, OPTIONAL_ARRAYS, Episode, canonical_json
from udg_policy.errors import DatasetError

SCHEMA_VERSION = 2
METRE = 8192  # units of the stored coordinates; a power of two, so that they are exact in float32
HEADER_BYTES = 512  # HDF5's smallest user block
_MAGIC = "udg-episode"
_CHUNK_FRAMES = 8
_DEFLATE = 4


class Header(NamedTuple):
    """What the first bytes of a file say about it; true only once the whole file is verified."""

    sha256: str  # of everything after the first line
    size: int  # [byte] of the whole file
    content: str  # SHA-256 of the content
    frames: int


def to_units(xyz_m: np.ndarray) -> np.ndarray:
    """Stored form (..., 3, N) int16 of coordinates (..., N, 3) [m]. Raises DatasetError outside +-4 m."""
    units = np.rint(np.asarray(xyz_m, dtype=np.float32) * METRE)
    limits = np.iinfo(np.int16)
    if units.min() < limits.min or units.max() > limits.max:
        least, most = float(np.min(xyz_m)), float(np.max(xyz_m))
        raise DatasetError(f"episode: cloud_xyz reaches from {least:.2f} to {most:.2f} m, valid: -4 to 4 m")
    return np.ascontiguousarray(np.moveaxis(units.astype("<i2"), -1, -2))


def from_units(units: np.ndarray) -> np.ndarray:
    """Coordinates (..., N, 3) float32 [m] of their stored form (..., 3, N)."""
    return np.ascontiguousarray(np.moveaxis(units, -2, -1)).astype(np.float32) / np.float32(METRE)


def _stored(episode: Episode) -> dict[str, np.ndarray]:
    arrays = {}
    for name in EPISODE_ARRAYS:
        array = getattr(episode, name)
        if array is not None:
            little = array.dtype.newbyteorder("<")
            arrays[name] = to_units(array) if name == "cloud_xyz" else np.ascontiguousarray(array, dtype=little)
    return arrays


def _content_hash(arrays: dict[str, np.ndarray], meta: str) -> str:
    total = hashlib.sha256(f"{SCHEMA_VERSION} {METRE} {STEP_S} {' '.join(JOINT_NAMES)}\n{meta}".encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def content_hash(episode: Episode) -> str:
    """SHA-256 of what the file of an episode holds, whatever its compression."""
    return _content_hash(_stored(episode), canonical_json(episode.meta))


def encode_episode(episode: Episode) -> bytes:
    """The file of an episode. Raises DatasetError where a coordinate is out of range."""
    arrays, meta = _stored(episode), canonical_json(episode.meta)
    image = io.BytesIO()
    with h5py.File(image, "w", userblock_size=HEADER_BYTES, libver=("v110", "v110")) as file:
        for name, array in arrays.items():
            chunks = (min(_CHUNK_FRAMES, len(array)), *array.shape[1:])
            file.create_dataset(
                name,
                data=array,
                chunks=chunks,
                shuffle=True,
                fletcher32=True,
                compression="gzip",
                compression_opts=_DEFLATE,
            )
        file.attrs["meta"] = meta
        file.attrs["joint_names"] = list(JOINT_NAMES)
        file.attrs["step_s"] = STEP_S
        file.attrs["metre"] = METRE
    data = image.getvalue()
    values = {"bytes": len(data), "content": _content_hash(arrays, meta), "frames": len(episode)}
    line = canonical_json(values) + "\n"
    first_length = len(_first_line("0" * 64))
    rest = line.encode().ljust(HEADER_BYTES - first_length, b"\0") + data[HEADER_BYTES:]
    return _first_line(hashlib.sha256(rest).hexdigest()) + rest


def _first_line(sha256: str) -> bytes:
    return f"{_MAGIC} {SCHEMA_VERSION} {sha256}\n".encode()


def read_header(data: bytes, where: str) -> Header:
    """What the first 512 bytes say; nothing is verified. Raises DatasetError naming `where`."""
    first, _, rest = data[:HEADER_BYTES].partition(b"\n")
    words = first.split(b" ")
    if len(words) != 3 or words[0] != _MAGIC.encode():
        raise DatasetError(f"{where}: corrupt: does not begin like an episode")
    if words[1] != str(SCHEMA_VERSION).encode():
        version = words[1].decode(errors="replace")
        raise DatasetError(f"{where}: has schema {version}, expected {SCHEMA_VERSION} (or it is corrupt)")
    try:
        values = json.loads(rest.partition(b"\n")[0])
        return Header(words[2].decode("ascii"), int(values["bytes"]), str(values["content"]), int(values["frames"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{where}: corrupt: its header is not readable") from error


def verify(data: bytes, where: str) -> Header:
    """The header of a whole file, once its length and checksum are right. Raises DatasetError naming `where`."""
    header = read_header(data, where)
    if len(data) != header.size:
        raise DatasetError(f"{where}: corrupt: has {len(data)} bytes, its header says {header.size}")
    first = _first_line(hashlib.sha256(memoryview(data)[data.index(b"\n") + 1 :]).hexdigest())
    if not data.startswith(first):
        raise DatasetError(f"{where}: corrupt: its checksum is wrong")
    return header


def decode_meta(data: bytes, where: str) -> tuple[Header, dict[str, object]]:
    """Header and meta data of a file, all of it verified but the arrays not unpacked."""
    header = verify(data, where)
    with h5py.File(h5py.h5f.open_file_image(data)) as file:
        return header, json.loads(str(file.attrs["meta"]))


def decode_episode(data: bytes, where: str) -> Episode:
    """The episode of a file. Raises DatasetError, naming `where`, for anything that is not exactly what was written."""
    verify(data, where)
    try:
        with h5py.File(h5py.h5f.open_file_image(data)) as file:
            meta = json.loads(str(file.attrs["meta"]))
            names, metre = tuple(file.attrs["joint_names"]), int(file.attrs["metre"])
            arrays = {name: file[name][()] for name in EPISODE_ARRAYS if name in file or name not in OPTIONAL_ARRAYS}
    except (OSError, KeyError, ValueError) as error:
        raise DatasetError(f"{where}: not a readable episode: {error}") from error
    if names != JOINT_NAMES:
        raise DatasetError(
            f"{where}: joint names differ from those of robot {current_robot().name}; ROBOT or UDG_ROBOT names the one "
            "that it was made with"
        )
    if metre != METRE:
        raise DatasetError(f"{where}: has {metre} units a metre, this program reads {METRE}")
    arrays["cloud_xyz"] = from_units(arrays["cloud_xyz"])
    try:
        return Episode(**arrays, meta=meta)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error
