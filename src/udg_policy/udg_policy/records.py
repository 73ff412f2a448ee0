"""Records of a fixed size in one or several files, as one array that is read through memory maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


class Records:
    """The records of the files one after the other; any of them is one short read."""

    def __init__(self, files: Sequence[tuple[Path, int]], dtype: np.dtype) -> None:
        """files: each with the number of its records, at least one."""
        self.dtype = dtype
        self._maps = [np.memmap(path, dtype=dtype, mode="r", shape=(count,)) for path, count in files]
        self._files = [open(path, "rb") for path, _ in files]  # noqa: SIM115 (for prefetch; as long as the records)
        self._first = np.cumsum([0] + [count for _, count in files])

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: np.ndarray) -> np.ndarray:
        """Records at index (...), not negative, in its shape."""
        if len(self._maps) == 1:
            return self._maps[0][index]
        out = np.empty(index.shape, dtype=self.dtype)
        file = np.searchsorted(self._first, index, side="right") - 1
        for number in np.unique(file):
            mine = file == number
            out[mine] = self._maps[number][index[mine] - self._first[number]]
        return out

    def prefetch(self, index: np.ndarray) -> None:
        """Ask the system to read these records (n,) soon."""
        size = self.dtype.itemsize
        file = np.searchsorted(self._first, index, side="right") - 1
        for number, place in zip(file.tolist(), (index - self._first[file]).tolist(), strict=True):
            os.posix_fadvise(self._files[number].fileno(), place * size, size, os.POSIX_FADV_WILLNEED)
