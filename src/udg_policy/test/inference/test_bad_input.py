"""Whatever is given to the engine, a chunk is finite and within the limits, or an error names what is wrong."""

from collections.abc import Callable

import numpy as np
import pytest

from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits
from udg_policy.bench.bench_policy import Observation, observations, random_checkpoint
from udg_policy.config import preset
from udg_policy.errors import ObservationError
from udg_policy.inference.engine import PolicyEngine

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module", params=["paper", "edge"])
def engine(request: pytest.FixtureRequest) -> PolicyEngine:
    return PolicyEngine(random_checkpoint(preset(request.param)))


@pytest.fixture(scope="module")
def scene() -> Observation:
    return observations(0)[3]


def one_point_each(cloud: np.ndarray) -> np.ndarray:
    """As many points, but all of a class at the same place."""
    first = {label: cloud[cloud[:, 3] == label][0] for label in (0, 1, 2)}
    return np.stack([first[int(label)] for label in cloud[:, 3]])


def few(cloud: np.ndarray, n: int) -> np.ndarray:
    """n points of each class."""
    return np.concatenate([cloud[cloud[:, 3] == label][:n] for label in (0, 1, 2)])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda cloud: cloud, id="as it is"),
        pytest.param(lambda cloud: cloud[::3], id="fewer than 2048 points"),
        pytest.param(lambda cloud: few(cloud, 8), id="fewer points than neighbours"),
        pytest.param(one_point_each, id="one place a class"),
        pytest.param(lambda cloud: np.repeat(few(cloud, 20), 30, axis=0), id="repeated points"),
        pytest.param(lambda cloud: np.concatenate([cloud, cloud + [0.001, 0.0, 0.0, 0.0]]), id="4096 points"),
        pytest.param(lambda cloud: cloud * [1.0, 1.0, 0.0, 1.0], id="a plane"),
        pytest.param(lambda cloud: cloud + [9.0, -9.0, 0.0, 0.0], id="far away"),
        pytest.param(lambda cloud: cloud.astype(np.float64), id="double precision"),
        pytest.param(lambda cloud: cloud.astype(np.float16), id="half precision"),
    ],
)
def test_the_chunk_is_finite_and_repeatable(engine: PolicyEngine, scene: Observation, change: Change) -> None:
    cloud = change(scene.points)
    chunk = engine.act(cloud, scene.q)
    assert chunk.shape == (engine.chunk, 36)
    assert joint_limits().contains(chunk)
    np.testing.assert_array_equal(chunk, engine.act(cloud, scene.q))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda cloud: cloud[cloud[:, 3] != 0], id="no seen point"),
        pytest.param(
            lambda cloud: np.concatenate([cloud[cloud[:, 3] == 0][:7], cloud[cloud[:, 3] != 0]]), id="too few"
        ),
        pytest.param(lambda cloud: cloud[cloud[:, 3] == 1][:1], id="a single point"),
    ],
)
def test_without_an_object_the_pose_is_held(engine: PolicyEngine, scene: Observation, change: Change) -> None:
    chunk = engine.act(change(scene.points), scene.q)
    np.testing.assert_allclose(chunk, np.tile(joint_limits().clip(scene.q), (engine.chunk, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cloud: cloud[:0], r"shape \(0, 4\), expected \(points, 4\)"),
        (lambda cloud: cloud.T, r"expected \(points, 4\)"),
        (lambda cloud: cloud[:, :3], r"expected \(points, 4\)"),
        (lambda cloud: cloud.reshape(-1), r"expected \(points, 4\)"),
        (lambda cloud: np.where(np.arange(4) == 2, np.nan, cloud), "2048 values are not finite"),
        (lambda cloud: np.where(np.arange(4) == 3, np.inf, cloud), "2048 values are not finite"),
        (lambda cloud: cloud * [1000.0, 1000.0, 1000.0, 1.0], "millimetres"),
        (lambda cloud: cloud + [0.0, 0.0, 0.0, 0.5], "unknown labels"),
        (lambda cloud: cloud - [0.0, 0.0, 0.0, 1.0], "unknown labels"),
        (lambda cloud: cloud.astype(str).astype(object) + "m", "not an array of numbers"),
        (lambda cloud: [[1.0, 2.0], [3.0]], "not an array of numbers"),
    ],
)
def test_bad_clouds_are_named(engine: PolicyEngine, scene: Observation, change: Change, message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        engine.act(change(scene.points), scene.q)


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (HOME_Q[:12], r"shape \(12,\), expected \(36,\)"),
        (np.where(np.arange(36) == 7, np.nan, HOME_Q), "joint 7 is not finite"),
    ],
)
def test_bad_joint_angles_are_named(engine: PolicyEngine, scene: Observation, q: np.ndarray, message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        engine.act(scene.points, q)


def test_joint_angles_far_outside_the_limits_give_a_chunk_within_them(engine: PolicyEngine, scene: Observation) -> None:
    assert joint_limits().contains(engine.act(scene.points, scene.q + 100.0))


def test_a_batch_equals_its_members(engine: PolicyEngine) -> None:
    scenes = observations(1)[:3]
    batch = engine.act_batch(*(np.stack(values) for values in zip(*scenes, strict=True)))
    for chunk, scene in zip(batch, scenes, strict=True):
        np.testing.assert_allclose(chunk, engine.act(*scene), atol=1e-4)
