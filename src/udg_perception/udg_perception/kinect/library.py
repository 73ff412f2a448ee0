"""Where pyk4a and the vendor's native libraries are found."""

from __future__ import annotations

import ctypes
import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from udg_perception.errors import KinectError


def load_pyk4a() -> Any:  # noqa: ANN401 (a module without types)
    """Import pyk4a. Raises KinectError that says how to get it."""
    try:
        return importlib.import_module("pyk4a")
    except ImportError as error:
        raise KinectError(
            f"pyk4a can't be imported: {error}; valid: `pip install pyk4a-bundle==1.5.0` with numpy < 2"
        ) from error


class NativeLibraries(NamedTuple):
    """The camera's library and that of recordings."""

    k4a: ctypes.CDLL
    record: ctypes.CDLL


@lru_cache(maxsize=1)
def native_libraries() -> NativeLibraries:
    """The libraries that pyk4a itself uses. Raises KinectError where they are absent."""
    pyk4a = load_pyk4a()
    bundle = Path(pyk4a.__file__).parent.parent / "pyk4a_bundle.libs"
    try:
        return NativeLibraries(_load(bundle, "libk4a"), _load(bundle, "libk4arecord"))
    except OSError as error:
        raise KinectError(f"the libraries of the Azure Kinect can't be loaded: {error}") from error


def _load(bundle: Path, name: str) -> ctypes.CDLL:
    bundled = sorted(bundle.glob(f"{name}-*.so*"))
    return ctypes.CDLL(str(bundled[0]) if bundled else f"{name}.so.1.4")
