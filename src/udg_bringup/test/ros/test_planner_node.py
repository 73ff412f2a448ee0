"""The planner in the policy's place: when it plans, and which target is due."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")

import rclpy
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from udg_bringup.ros import planner_node
from udg_bringup.ros.planner_node import CHUNK, PlannerNode
from udg_datagen.evaluation.policy import Start
from udg_description.clock import NS_PER_S
from udg_description.layout import HOME_Q
from udg_description.ros import convert
from udg_sim.trials.status import TrialStatus

pytestmark = pytest.mark.ros


class Plan:
    """Step k adds 0.01 k to each joint."""

    plans = 0

    def reset(self, start: Start) -> None:
        Plan.plans += 1
        self.targets = start.q + 0.01 * np.arange(60)[:, None]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlannerNode]:
    monkeypatch.setattr(planner_node, "PlannerPolicy", Plan)
    monkeypatch.setattr(Plan, "plans", 0)
    rclpy.init(domain_id=29)
    try:
        node = PlannerNode()
        yield node
        node.destroy_node()
    finally:
        rclpy.try_shutdown()


@pytest.fixture
def answers(node: PlannerNode, monkeypatch: pytest.MonkeyPatch) -> list[JointTrajectory]:
    sent: list[JointTrajectory] = []
    monkeypatch.setattr(node._chunks, "publish", sent.append)
    return sent


def status(time_s: float, trial: int = 0) -> String:
    unknown: dict[str, Any] = {"image_sent_s": float("nan"), "tick_ms": float("nan")}
    zeros = {"object_z_m": 0.0, "raised_m": 0.0, "success": False, "done": False}
    return String(
        data=TrialStatus(
            object="cube_60", seed=1, trial=trial, start_s=5.0, time_s=time_s, q=HOME_Q.tolist(),
            T_world_object=np.eye(4).tolist(), **zeros, **unknown,
        ).to_json()
    )  # fmt: skip


def cloud(time_s: float) -> Any:  # noqa: ANN401
    return convert.points_to_cloud(np.zeros((1, 4), dtype=np.float32), round((5.0 + time_s) * NS_PER_S))


def start(node: PlannerNode) -> None:
    (service,) = [one for one in node.services if one.srv_name.endswith("start")]
    assert service.callback(Trigger.Request(), Trigger.Response()).success


def first_step(answer: JointTrajectory) -> float:
    """Which step of the plan an answer begins with."""
    return (answer.points[0].positions[0] - HOME_Q[0]) / 0.01


def test_a_plan_made_in_the_midst_of_a_trial_begins_at_its_beginning(
    node: PlannerNode, answers: list[JointTrajectory]
) -> None:
    start(node)
    node._on_status(status(30.0))
    node._on_cloud(cloud(30.0))
    node._on_cloud(cloud(30.2))
    assert [first_step(one) for one in answers] == pytest.approx([0.0, 2.0], abs=1e-6)
    assert len(answers[0].points) == CHUNK and Plan.plans == 1


def test_a_start_between_a_status_and_its_cloud_leaves_no_cloud_without_an_answer(
    node: PlannerNode, answers: list[JointTrajectory]
) -> None:
    node._on_status(status(0.4))
    start(node)
    node._on_cloud(cloud(0.4))
    assert [first_step(one) for one in answers] == pytest.approx([0.0], abs=1e-6)


def test_a_status_of_before_is_not_planned_from(node: PlannerNode, answers: list[JointTrajectory]) -> None:
    """A new trial's cloud waits for its own status."""
    node._on_status(status(7.0))
    start(node)
    node._on_cloud(cloud(0.0))
    assert not answers and Plan.plans == 0
    node._on_status(status(0.0, trial=1))
    assert [first_step(one) for one in answers] == pytest.approx([0.0], abs=1e-6) and Plan.plans == 1
