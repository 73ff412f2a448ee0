"""How many threads multiply matrices."""

import os

from threadpoolctl import threadpool_limits


def one_blas_thread() -> None:
    """Let this process, and those that it starts from now on, multiply matrices in the calling thread alone.

    The library's helper threads have no real-time priority, so a control cycle that waits for one is as late as the
    busiest core; and they spin while they wait for work, which takes the cores from the other nodes.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    threadpool_limits(1, user_api="blas")
