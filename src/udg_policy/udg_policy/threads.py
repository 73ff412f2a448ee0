"""How many threads torch computes with, and threads of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside, as many as before afterwards: several wait busily for one another at each small operation, and
    change the rounding.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Team:
    """The calling thread and others beside it, which stay: new threads often start on the core that is already busy."""

    def __init__(self, threads: int) -> None:
        """`threads` in all; each computes with one thread of torch."""
        self.threads = threads
        self._others = ThreadPoolExecutor(threads - 1, "policy", torch.set_num_threads, (1,)) if threads > 1 else None

    def do(self, tasks: Sequence[Callable[[], object]]) -> None:
        """Do all tasks, in any order; returns or raises, what a task raised, when none runs any more."""
        pending = iter(tasks)  # the next one of a list's iterator is taken under the interpreter's lock

        @torch.inference_mode()
        def work() -> None:
            for task in pending:
                task()

        helpers = [self._others.submit(work) for _ in range(min(self.threads, len(tasks)) - 1)] if self._others else []
        try:
            work()
        finally:
            wait(helpers)
        for helper in helpers:
            helper.result()
