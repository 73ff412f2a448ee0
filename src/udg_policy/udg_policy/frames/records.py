"""Records of a fixed size in one or several files, as one array that is read through memory maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_AT_A_TIME = 8192  # records on their way to a device
_TYPES = {"i2": torch.int16, "u1": torch.uint8, "f4": torch.float32}


class Records:
    """The records of the files one after the other; any of them is one short read."""

    def __init__(self, files: Sequence[tuple[Path, int]], dtype: np.dtype) -> None:
        """files: each with the number of its records, at least one."""
        self.dtype = dtype
        self._maps = [np.memmap(path, dtype=dtype, mode="r", shape=(count,)) for path, count in files]
        self._files = [open(path, "rb") for path, _ in files]  # noqa: SIM115 (for prefetch; as long as the records)
        self._resident: Tensor | None = None  # (n, bytes of a record) on a device
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

    @property
    def bytes(self) -> int:
        """Of all records."""
        return len(self) * self.dtype.itemsize

    def fields(self, index: Tensor, *names: str) -> list[Tensor]:
        """Fields of the records at index (...), each (..., shape of the field), where the records are."""
        if self._resident is None:
            records = self[index.numpy()]
            return [torch.from_numpy(records[name].copy()) for name in names]  # one record may have odd strides
        rows, found = self._resident[index], []
        assert self.dtype.fields is not None
        for name in names:
            field, start = self.dtype.fields[name][:2]
            piece = rows[..., start : start + field.itemsize].contiguous().view(_TYPES[field.base.str[1:]])
            found.append(piece.view(*index.shape, *field.shape))
        return found

    def to(self, device: torch.device) -> Records:
        """All records in the memory of a device."""
        there = copy(self)
        there._resident = torch.empty(len(self), self.dtype.itemsize, dtype=torch.uint8, device=device)
        for records, first in zip(self._maps, self._first, strict=False):
            for start in range(0, len(records), _AT_A_TIME):
                part = np.array(records[start : start + _AT_A_TIME]).view(np.uint8).reshape(-1, self.dtype.itemsize)
                there._resident[first + start : first + start + len(part)] = torch.from_numpy(part).to(device)
        return there

    def prefetch(self, index: np.ndarray) -> None:
        """Ask the system to read these records (n,) soon."""
        size = self.dtype.itemsize
        file = np.searchsorted(self._first, index, side="right") - 1
        for number, place in zip(file.tolist(), (index - self._first[file]).tolist(), strict=True):
            os.posix_fadvise(self._files[number].fileno(), place * size, size, os.POSIX_FADV_WILLNEED)
