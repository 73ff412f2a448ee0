"""Threads that share tasks."""

import threading
from functools import partial

import numpy as np
import pytest

from udg_policy.config import preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.network.point_set import PointSampler
from udg_policy.threads import Team


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_every_task_is_done_once(threads: int, count: int) -> None:
    done = np.zeros(count, dtype=int)

    def add(i: int) -> None:
        done[i] += 1

    team = Team(threads)
    for _ in range(3):
        team.do([partial(add, i) for i in range(count)])
    assert (done == 3).all()


def test_two_threads_work_at_the_same_time() -> None:
    met = threading.Barrier(2, timeout=20.0)
    Team(2).do([met.wait, met.wait])  # alone, the first would wait for ever
    assert not met.broken


def test_what_a_task_raises_comes_out_whoever_did_it() -> None:
    def fail() -> None:
        raise ValueError("this one")

    for threads in (1, 2):
        team = Team(threads)
        with pytest.raises(ValueError, match="this one"):
            team.do([fail, fail])
        team.do([lambda: None])  # and it still works


@pytest.mark.parametrize("name", ["edge", "paper"])
def test_threads_find_the_same_neighbours(name: str) -> None:
    config = preset(name)
    episode = make_episode(0, steps=1, n_seen=900)
    cloud = np.concatenate([episode.cloud_xyz[0], episode.cloud_label[0, :, None]], axis=1, dtype=np.float32)
    centres = np.zeros((2, 3))
    one, three = (PointSampler(config.observation, config.encoder, Team(n))(cloud, centres) for n in (1, 3))
    for a, b in zip(one, three, strict=True):
        assert np.array_equal(a, b)
