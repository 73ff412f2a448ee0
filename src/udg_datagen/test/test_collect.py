import json
from pathlib import Path

import numpy as np
import pytest

from udg_datagen.collect import CollectConfig, run, summarise, task_rng
from udg_datagen.rollout import wilson_interval
from udg_description.errors import UdgError


def test_the_randomness_of_a_task_depends_on_object_and_seed_alone() -> None:
    first = task_rng("can", 3).random(4)
    np.testing.assert_array_equal(first, task_rng("can", 3).random(4))
    assert not np.allclose(first, task_rng("can", 4).random(4))
    assert not np.allclose(first, task_rng("box", 3).random(4))


def test_the_summary_counts_by_hand() -> None:
    accounts = [
        {"object": "a", "result": "success", "frames": 40},
        {"object": "a", "result": "no_ik", "frames": 0},
        {"object": "b", "result": "dropped", "frames": 0},
        {"object": "b", "result": "success", "frames": 30},
    ]
    summary = summarise(accounts)
    assert summary["attempted"] == 4
    assert summary["executed"] == 3
    assert summary["success_rate"] == pytest.approx(2 / 3, abs=1e-4)
    assert summary["reasons"] == {"no_ik": 1, "dropped": 1}
    assert summary["by_object"]["a"] == {"attempted": 2, "successes": 1}
    assert summary["frames"] == 70
    json.dumps(summary)


def test_unknown_objects_and_bad_numbers_are_refused_before_any_file_is_written(tmp_path: Path) -> None:
    out = tmp_path / "demos"
    with pytest.raises(UdgError, match="no_such_thing"):
        run(["--objects", "no_such_thing", "--out", str(out)])
    with pytest.raises(UdgError, match="--episodes 0"):
        run(["--episodes", "0", "--out", str(out)])
    with pytest.raises(UdgError, match="noisy_share"):
        run(["--noisy-share", "1.5", "--objects", "cube_60", "--out", str(out)])
    assert not out.exists()


def test_config_refuses_bad_ranges() -> None:
    with pytest.raises(UdgError, match="friction"):
        CollectConfig(friction=(1.0, 0.5))


def test_wilson_interval_by_hand() -> None:
    # 8 of 10: centre (0.8 + 3.8416 / 20) / 1.38416 = 0.7168, half width 0.2267
    low, high = wilson_interval(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-3)
    assert high == pytest.approx(0.9433, abs=1e-3)
