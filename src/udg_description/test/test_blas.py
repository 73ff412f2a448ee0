"""Matrices are multiplied by the calling thread alone."""

import os
import subprocess
import sys

SHOW = (
    "import numpy, threadpoolctl, {before}os; {call}"
    "print([pool['num_threads'] for pool in threadpoolctl.threadpool_info() if pool['user_api'] == 'blas'])"
)


def blas_threads(before: str, call: str) -> str:
    code = SHOW.format(before=before, call=call)
    variables = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    run = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_one_thread_here_and_in_processes_started_later() -> None:
    child = "subprocess.run([sys.executable, '-c', 'import numpy, threadpoolctl; print(threadpoolctl.threadpool_info()[0][\"num_threads\"])']); "
    call = "from udg_description.blas import one_blas_thread; one_blas_thread(); "
    if os.cpu_count() != 1:
        assert "[1]" not in blas_threads("", "")
    assert set(blas_threads("subprocess, sys, ", call + child).split("\n")) <= {"1", "[1]", "[1, 1]"}
