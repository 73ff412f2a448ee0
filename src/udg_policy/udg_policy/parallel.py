"""Data-parallel training: processes of this machine, or of many by torchrun; gradients are averaged over all.

Every process takes an equal share of each batch, so that n processes do what one does with the same batch. Batch
normalisation uses the statistics of the whole batch (`udg_policy.network.rows_mlp` sums them over the processes).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.queues import SimpleQueue

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from udg_description.errors import UdgError, explain
from udg_policy.errors import ConfigError, ProcessError

_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(hours=12)  # while one process prepares frames or validates


def default_device() -> str:
    """Where a process trains that has the machine for itself."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Parallel:
    """Place of this process among all that train; alone by default."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # on its machine
    device: str = "cpu"

    @staticmethod
    @contextmanager
    def join(rank: int, size: int, port: int) -> Iterator[Parallel]:
        """Meet the other processes on this machine's CPU; leave them at the end.

        Not after a mistake: the others must not notice that this process has gone before it has told why (`spawn`).
        """
        dist.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size, timeout=_PATIENCE
        )
        yield Parallel(rank, size, rank)
        dist.destroy_process_group()

    @staticmethod
    def by_torchrun() -> bool:
        """Whether torchrun has started this process."""
        return "WORLD_SIZE" in os.environ and "RANK" in os.environ

    @staticmethod
    def leads() -> bool:
        """Whether this process is the first of torchrun's, or was not started by it."""
        return not Parallel.by_torchrun() or os.environ["RANK"] == "0"

    @staticmethod
    @contextmanager
    def from_environment() -> Iterator[Parallel]:
        """Meet the processes that torchrun has started, by its environment: nccl on CUDA, else gloo.

        Raises ConfigError where the environment is not torchrun's.
        """
        missing = [name for name in _TORCHRUN if name not in os.environ]
        if missing:
            raise ConfigError(f"environment: {missing[0]} is missing; use torchrun, or unset RANK and WORLD_SIZE")
        try:
            rank, local_rank, size = (int(os.environ[name]) for name in _TORCHRUN[:3])
        except ValueError as error:
            raise ConfigError(f"environment: RANK, LOCAL_RANK and WORLD_SIZE must be integers: {error}") from error
        device = default_device()
        if device == "cuda":
            if local_rank >= torch.cuda.device_count():
                raise ConfigError(
                    f"torchrun: no CUDA device for local process {local_rank}; valid for "
                    f"--nproc-per-node: at most {torch.cuda.device_count()}"
                )
            device = f"cuda:{local_rank}"
            torch.cuda.set_device(local_rank)
        dist.init_process_group("nccl" if device != "cpu" else "gloo", timeout=_PATIENCE)
        try:
            yield Parallel(rank, size, local_rank, device)
        finally:
            dist.destroy_process_group()

    @staticmethod
    def spawn(work: Callable[..., None], size: int, *arguments: object) -> None:
        """Run work(rank, size, port, *arguments) in `size` processes and wait for them; the arguments are shared.

        Raises ProcessError with the line of a UdgError or OSError that one of them ends with.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Forked: the data are shared without a copy in /dev/shm, which is small in containers.
        mistakes = multiprocessing.get_context("fork").SimpleQueue()
        started = start_processes(
            _report_mistake, (work, mistakes, size, port, *arguments), nprocs=size, join=False, start_method="fork"
        )
        try:
            while not started.join():
                pass
        except (ProcessRaisedException, ProcessExitedException):
            if mistakes.empty():
                raise
            raise ProcessError(mistakes.get()) from None
        finally:
            for process in started.processes:
                process.terminate()

    def agree(self, value: float) -> float:
        """The first process's value."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return float(shared)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def average(self, values: Tensor) -> None:
        """Replace `values` by their mean over the processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size


def _report_mistake(rank: int, work: Callable[..., None], mistakes: SimpleQueue, *arguments: object) -> None:
    """Hand a user's mistake back as its line: a traceback of another process tells nobody anything."""
    try:
        work(rank, *arguments)
    except UdgError as error:
        mistakes.put(str(error))
        raise
    except OSError as error:
        mistakes.put(explain(error))
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it ends anyway: nothing to tell of being asked to


def process_count() -> int:
    """Processes that train together: 1 outside such a group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum of `values` over the processes that train together; without gradient."""
    if process_count() > 1:
        values = values.contiguous()
        dist.all_reduce(values)
    return values
