"""Where tensors live."""

from __future__ import annotations

import torch

from udg_datagen.errors import DeviceError


def checked_device(device: str) -> str:
    """`device` if torch can use it here.

    Raises:
        DeviceError: unknown, or not present.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise DeviceError(f"unknown device '{device}'; valid: cpu, cuda, cuda:0, ...") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device '{device}' was asked for, but torch finds no CUDA device here; use 'cpu'")
    return device
