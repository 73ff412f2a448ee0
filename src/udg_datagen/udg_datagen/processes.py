"""Worker processes of one thread each that end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Processes for `pool=` of `synthesize` and `validate`, a context manager: their start is paid once."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start)


def end_with_parent() -> None:
    """Let this process end when its parent is gone, however it went."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _start() -> None:
    import torch  # here: seconds that a worker which needs none of it should not wait for

    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    end_with_parent()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
