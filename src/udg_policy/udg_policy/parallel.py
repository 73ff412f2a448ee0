"""Data-parallel training by processes on one machine: gradients are averaged over gloo."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes


@dataclass(frozen=True)
class Parallel:
    """Place of this process among all that train; alone by default."""

    rank: int = 0
    size: int = 1

    @staticmethod
    @contextmanager
    def join(rank: int, size: int, port: int) -> Iterator[Parallel]:
        """Meet the other processes on this machine; leave them at the end."""
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
        try:
            yield Parallel(rank, size)
        finally:
            dist.destroy_process_group()

    @staticmethod
    def spawn(work: Callable[..., None], size: int, *arguments: object) -> None:
        """Run work(rank, size, port, *arguments) in `size` processes and wait for them; the arguments are shared."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Forked: the data are shared without a copy in /dev/shm, which is small in containers.
        start_processes(work, (size, port, *arguments), nprocs=size, start_method="fork")

    def agree(self, value: float) -> float:
        """The first process's value."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(shared, src=0)
        return float(shared)

    def average_gradients(self, network: nn.Module) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def process_count() -> int:
    """Processes that train together: 1 outside such a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum of `values` over the processes that train together; without gradient."""
    if process_count() > 1:
        values = values.contiguous()
        dist.all_reduce(values)
    return values
