"""Processes that do jobs and may die, hang or fail: on this machine, or on a Ray cluster.

Both pools have the same use: `submit` a job while there is an `idle` worker, `wait` for what has finished. A worker
that dies or hangs costs its job only: another one takes its place.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from types import ModuleType, TracebackType
from typing import Any, Protocol

from udg_datagen.processes import end_with_parent
from udg_description.environment import ROBOT_VARIABLE
from udg_description.errors import DISK_FULL, UdgError

Runner = Callable[[Any], Any]
"""Does a job in a worker."""
Start = Callable[[], Runner]
"""Makes a worker's runner, in the worker; must be picklable."""

BEGUN = "begun"
"""What a worker sends when it has a job and is ready, before it does it: a death before that is not the job's doing."""
ENDED = ("worker_died", "timed_out", "not_begun")
"""Failures after which a worker is another one; the last one is not the job's doing: it never began."""

_START_S = 300.0  # more than a job's time, until a worker is ready


class WorkersError(UdgError):
    """Workers that cannot be started."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job: its value, or why there is none."""

    value: Any = None
    failure: str = ""  # "" | "error" | "worker_died" | "timed_out" | "disk_full" | "not_begun"
    message: str = ""  # one line
    details: str = ""  # traceback


class Pool(Protocol):
    """Workers."""

    @property
    def idle(self) -> int:
        """How many jobs could be submitted now."""
        ...

    @property
    def busy(self) -> int:
        """How many jobs are being done."""
        ...

    def submit(self, key: Hashable, job: object) -> None:
        """Give a job to an idle worker; `key` names it in what `wait` returns."""
        ...

    def wait(self, timeout_s: float) -> list[tuple[Hashable, Outcome]]:
        """What has finished; empty when nothing has within the time."""
        ...

    def close(self) -> None:
        """End all workers at once, whatever they do."""
        ...


def outcomes(pool: Pool, jobs: Iterable[tuple[Hashable, object]]) -> Iterator[tuple[Hashable, Outcome]]:
    """Give the pool the jobs, each with its key, in their order; yield the outcomes, by key, as they come."""
    pending = deque(jobs)
    while pending or pool.busy:
        while pending and pool.idle:
            pool.submit(*pending.popleft())
        yield from pool.wait(1.0)


def run_job(runner: Runner, job: object) -> Outcome:
    """Do a job; an exception becomes an Outcome."""
    try:
        return Outcome(value=runner(job))
    except UdgError as error:  # of the user's: its line says all
        failure = "disk_full" if _is_disk_full(error) else "error"
        return Outcome(failure=failure, message=" ".join(str(error).split()))
    except Exception as error:
        failure = "disk_full" if _is_disk_full(error) else "error"
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return Outcome(failure=failure, message=message, details=traceback.format_exc())


def _is_disk_full(error: BaseException) -> bool:
    """Whether the error, or the one that caused it, is a lack of space."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


class _Worker:
    """A process at the other end of a pipe, and what it is doing."""

    def __init__(self, start: Start) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, child = context.Pipe()
        self.process = context.Process(target=_work, args=(child, start), daemon=True)
        self.process.start()
        child.close()
        self.key: Hashable = None
        self.job: object = None
        self.begun = False
        self.retried = False
        self.since_s = 0.0

    def give(self, key: Hashable, job: object, *, retried: bool = False) -> None:
        self.key, self.job, self.begun, self.retried, self.since_s = key, job, False, retried, time.monotonic()
        with suppress(BrokenPipeError):  # it is dead: `wait` tells
            self.pipe.send(job)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _work(pipe: Connection, start: Start) -> None:
    """Body of a worker: jobs in, outcomes out, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    end_with_parent()
    runner: Runner | None = None
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        if runner is None:
            try:
                runner = start()
            except Exception as error:
                message = " ".join(f"{type(error).__name__}: {error}".split())
                pipe.send(Outcome(failure="error", message=message, details=traceback.format_exc()))
                continue
        pipe.send(BEGUN)
        pipe.send(run_job(runner, job))


class LocalPool:
    """`count` processes on this machine; a job that takes longer than `timeout_s` is ended with its worker.

    The time of a worker's first job does not include its start, which may take much longer on a busy machine.
    """

    def __init__(self, count: int, start: Start, timeout_s: float) -> None:
        if count < 1:
            raise WorkersError(f"workers: {count}, valid: at least 1")
        self._start, self._timeout_s = start, timeout_s
        self._busy: list[_Worker] = []
        self._idle = [_Worker(start) for _ in range(count)]

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> int:
        return len(self._busy)

    def submit(self, key: Hashable, job: object) -> None:
        worker = self._idle.pop()
        self._busy.append(worker)
        worker.give(key, job)

    def wait(self, timeout_s: float) -> list[tuple[Hashable, Outcome]]:
        ready = wait([worker.pipe for worker in self._busy], timeout_s) if self._busy else []
        finished: list[tuple[Hashable, Outcome]] = []
        for worker in list(self._busy):
            outcome = self._outcome(worker, worker.pipe in ready)
            if outcome is None:
                continue
            self._busy.remove(worker)
            if outcome.failure == "worker_died" and not worker.begun:  # it died with nothing to do
                if not worker.retried:
                    worker.end()
                    another = _Worker(self._start)
                    another.give(worker.key, worker.job, retried=True)
                    self._busy.append(another)
                    continue
                outcome = replace(outcome, failure="not_begun")
            finished.append((worker.key, outcome))
            if outcome.failure in ENDED:
                worker.end()
                worker = _Worker(self._start)
            self._idle.append(worker)
        return finished

    def _outcome(self, worker: _Worker, ready: bool) -> Outcome | None:
        if ready:
            try:
                outcome = worker.pipe.recv()
                if outcome != BEGUN:
                    return outcome
                worker.begun, worker.since_s = True, time.monotonic()
            except (EOFError, OSError):
                worker.process.join(5.0)
                return Outcome(failure="worker_died", message=f"worker ended with code {worker.process.exitcode}")
        late_s = time.monotonic() - worker.since_s - self._timeout_s
        if worker.begun and late_s > 0.0:
            return Outcome(failure="timed_out", message=f"took longer than {self._timeout_s:g} s")
        if late_s > _START_S:
            return Outcome(failure="not_begun", message=f"no worker was ready in {self._timeout_s + _START_S:g} s")
        return None

    def close(self) -> None:
        for worker in self._idle + self._busy:
            worker.end()
        self._idle, self._busy = [], []

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class RayPool:
    """`count` actors of a Ray cluster (one for each of its cores by default), one core each."""

    def __init__(self, address: str, count: int | None, start: Start, timeout_s: float) -> None:
        self._ray = _import_ray()
        try:
            self._ray.init(address=address, log_to_driver=False, logging_level="error", ignore_reinit_error=True)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise WorkersError(f"Ray cluster {address!r} cannot be reached: {error}") from error
        if count is None:
            count = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._start, self._timeout_s = start, timeout_s
        inherited = {name: os.environ[name] for name in (ROBOT_VARIABLE,) if name in os.environ}
        environment = {"env_vars": {"OMP_NUM_THREADS": "1", **inherited}}
        self._actor = self._ray.remote(num_cpus=1, max_restarts=0, runtime_env=environment)(_Actor)
        self._idle = [self._new() for _ in range(count)]
        self._busy: dict[Any, _Given] = {}

    def _new(self) -> _RayWorker:
        actor = self._actor.remote(self._start)
        return _RayWorker(actor, actor.start.remote())

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> int:
        return len(self._busy)

    def submit(self, key: Hashable, job: object) -> None:
        worker = self._idle.pop()
        self._busy[worker.actor.run.remote(job)] = _Given(worker, key, time.monotonic())

    def wait(self, timeout_s: float) -> list[tuple[Hashable, Outcome]]:
        if not self._busy:
            return []
        ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=timeout_s)
        finished: list[tuple[Hashable, Outcome]] = []
        for reference, given in list(self._busy.items()):
            worker = given.worker
            if not worker.ready and self._ray.wait([worker.started], timeout=0.0)[0]:
                worker.ready, given.since_s = True, time.monotonic()
            outcome = self._outcome(reference if reference in ready else None, given)
            if outcome is None:
                continue
            del self._busy[reference]
            if outcome.failure == "worker_died" and not worker.ready:
                outcome = replace(outcome, failure="not_begun")
            finished.append((given.key, outcome))
            if outcome.failure in ENDED or not worker.ready:
                self._ray.kill(worker.actor)
                worker = self._new()
            self._idle.append(worker)
        return finished

    def _outcome(self, reference: object, given: _Given) -> Outcome | None:
        if reference is not None:
            try:
                return self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                return Outcome(failure="worker_died", message=type(error).__name__)
        late_s = time.monotonic() - given.since_s - self._timeout_s
        if given.worker.ready and late_s > 0.0:
            return Outcome(failure="timed_out", message=f"took longer than {self._timeout_s:g} s")
        if late_s > _START_S:  # not the job's doing: the cluster has no core for it
            return Outcome(failure="not_begun", message=f"no worker was ready in {self._timeout_s + _START_S:g} s")
        return None

    def close(self) -> None:
        for worker in self._idle + [given.worker for given in self._busy.values()]:
            self._ray.kill(worker.actor)
        self._idle, self._busy = [], {}
        self._ray.shutdown()


@dataclass
class _RayWorker:
    """An actor, and what says that it has started."""

    actor: Any
    started: Any
    ready: bool = False


@dataclass
class _Given:
    """A job that an actor has; since when it does it, or, before it is ready, waits to."""

    worker: _RayWorker
    key: Hashable
    since_s: float


class _Actor:
    """A worker of a Ray cluster."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._runner: Runner | None = None

    def start(self) -> None:
        """Make the runner; its time is not the first job's. What it raises, the first job raises again."""
        with suppress(Exception):
            self._runner = self._start()

    def run(self, job: object) -> Outcome:
        def first(job: object) -> object:
            if self._runner is None:
                self._runner = self._start()
            return self._runner(job)

        return run_job(first, job)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """The option --workers of a command that uses `open_pool`."""
    parser.add_argument(
        "--workers",
        type=int,
        default=None,
        help="processes (default: 1); with RAY_ADDRESS set: actors of the cluster (default: one per core)",
    )


def open_pool(start: Start, workers: int | None, timeout_s: float) -> Pool:
    """Workers of one thread each: of this machine (default: one), or of the Ray cluster at RAY_ADDRESS (its cores)."""
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited
    address = os.environ.get("RAY_ADDRESS")
    if address:
        return RayPool(address, workers, start, timeout_s)
    return LocalPool(1 if workers is None else workers, start, timeout_s)


def _import_ray() -> ModuleType:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise WorkersError("RAY_ADDRESS is set, but Ray is not installed; pip install 'udg_datagen[ray]'") from error
