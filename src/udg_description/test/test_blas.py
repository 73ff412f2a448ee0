"""Matrices are multiplied by the calling thread alone."""

import os
import subprocess
import sys

SHOW = "import numpy, threadpoolctl; print([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])"
CALL = "from udg_description.blas import one_blas_thread; import subprocess, sys; one_blas_thread(); "


def pools(code: str) -> list[str]:
    variables = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    run = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    return run.stdout.split("\n")[:-1]


def test_one_thread_here_and_in_processes_that_are_started_later() -> None:
    assert pools(f'{CALL}{SHOW}; sys.stdout.flush(); subprocess.run([sys.executable, "-c", "{SHOW}"])') == ["[1]"] * 2
