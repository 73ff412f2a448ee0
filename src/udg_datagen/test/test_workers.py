import errno
import importlib
import os
import signal
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest

from udg_datagen import workers
from udg_datagen.workers import LocalPool, Outcome, Pool, RayPool, Start, WorkersError, run_job

JOBS = """
import os, signal, time

if os.environ.get("DIE_AT_IMPORT"):
    os._exit(3)

def act(job):
    what, value = job
    if what == "square":
        return value * value
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(60)
    if what == "pid":
        return os.getpid()
    raise ValueError(f"no such job: {what}")

def start():
    return act

def late():
    time.sleep(4)
    return act
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start workers that do what their jobs say, from a module that other processes can import."""
    (tmp_path / "jobs_of_test_workers.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    sys.modules.pop("jobs_of_test_workers", None)
    return importlib.import_module("jobs_of_test_workers").start


def finish(pool: Pool, jobs: list[Any]) -> dict[Hashable, Outcome]:
    """Do all jobs, keyed by their place."""
    return dict(workers.outcomes(pool, enumerate(jobs)))


def test_all_jobs_are_done_whatever_happens_to_workers(start: Start) -> None:
    jobs = [("square", 2), ("die", 0), ("square", 3), ("no", 0), ("hang", 0), ("square", 4), ("die", 0), ("square", 5)]
    with LocalPool(2, start, timeout_s=3.0) as pool:
        outcomes = finish(pool, jobs)
        assert pool.idle == 2 and pool.busy == 0
    assert [outcomes[k].value for k in (0, 2, 5, 7)] == [4, 9, 16, 25]
    assert [outcomes[k].failure for k in (1, 3, 4, 6)] == ["worker_died", "error", "timed_out", "worker_died"]
    assert outcomes[3].message == "ValueError: no such job: no"


def test_a_worker_killed_while_it_has_nothing_to_do_is_replaced(start: Start) -> None:
    with LocalPool(1, start, timeout_s=10.0) as pool:
        pid = finish(pool, [("pid", 0)])[0].value
        os.kill(pid, signal.SIGKILL)  # the job may be submitted before or after the pool can know
        assert finish(pool, [("square", 6)])[0].value == 36


def test_a_job_whose_workers_die_before_it_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIE_AT_IMPORT", "1")
    with LocalPool(1, start, timeout_s=10.0) as pool:
        outcome = finish(pool, [("square", 6)])[0]
        assert (outcome.failure, outcome.message) == ("not_begun", "worker ended with code 3")


def test_no_worker_is_refused(start: Start) -> None:
    with pytest.raises(WorkersError, match="at least 1"):
        LocalPool(0, start, timeout_s=1.0)


def test_a_full_disk_is_told_apart_from_other_errors() -> None:
    def full(job: object) -> object:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("not written") from error

    assert run_job(full, None).failure == "disk_full"
    assert run_job(lambda job: 1 / 0, None).failure == "error"


def test_the_time_until_an_actor_has_started_is_not_its_first_jobs(start: Start) -> None:
    """It takes 4 s to start, jobs may take 2 s."""
    pytest.importorskip("ray", reason="Ray is not installed")
    late = sys.modules["jobs_of_test_workers"].late
    pool = RayPool("local", 1, late, timeout_s=2.0)
    try:
        outcomes = finish(pool, [("square", 2), ("hang", 0)])
    finally:
        pool.close()
    assert (outcomes[0].value, outcomes[1].failure) == (4, "timed_out")


def test_ray_actors_do_the_same_and_are_replaced_when_they_die(start: Start) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    pool = RayPool("local", 1, start, timeout_s=60.0)
    try:
        outcomes = finish(pool, [("square", 2), ("die", 0), ("square", 3), ("no", 0)])
    finally:
        pool.close()
    assert [outcomes[k].value for k in (0, 2)] == [4, 9]
    assert [outcomes[k].failure for k in (1, 3)] == ["worker_died", "error"]
