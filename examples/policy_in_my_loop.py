"""The shipped policy in a loop of your own: a cloud and 36 joints in, ten times a second; joint targets out.

    python examples/policy_in_my_loop.py cube_60

`MyRobot` stands for your robot and cameras; here it is the simulated cell. This loop has no safety filter and no second
attempt: on a real robot commands go through the filter of udg_control (docs/safety.md).
"""

import sys

import numpy as np

from udg_bringup.checkpoints import checkpoint_folder
from udg_datagen.evaluation.cell import Cell
from udg_description.frames import OBJECT_AREA
from udg_description.transforms import make_transform
from udg_policy.inference.engine import PolicyEngine


class MyRobot:
    def __init__(self, name: str) -> None:
        self._cell = Cell()
        self._object = self._cell.library.get(name)
        on_table = make_transform(np.eye(3), OBJECT_AREA["small_medium"].center)
        T_world_object = on_table @ self._object.stable_poses[0]
        self._cell.world.reset(object=self._object, T_world_object=T_world_object)
        self._z0_m = T_world_object[2, 3]

    def observe(self) -> tuple[np.ndarray, np.ndarray]:
        return self._cell.cloud(self._object, whole_images=False), self._cell.world.q

    def move(self, target: np.ndarray, duration_s: float) -> None:
        world, start = self._cell.world, self._cell.world.target
        began_s = world.time_s
        for share in np.linspace(0.1, 1.0, 10):  # 100 targets a second
            world.set_target(start + share * (target - start))
            world.step_until(began_s + share * duration_s)

    def raised_m(self) -> float:
        return float(self._cell.world.T_world_object[2, 3] - self._z0_m)


def main(name: str, longest_s: float = 12.0) -> float:
    engine, robot = PolicyEngine.load(checkpoint_folder("")), MyRobot(name)
    commanded = None  # the last command, by which the policy sees what its fingers press on
    for _ in range(round(longest_s / 0.1)):
        points, q = robot.observe()  # (2048, 4) x y z [m, world] and label; (36,) [rad]
        chunk = engine.act(points, q, commanded)  # (8, 36) [rad], one each 0.1 s
        commanded = chunk[0]
        robot.move(commanded, 0.1)
        if robot.raised_m() > 0.2:
            break
    print(f"{name}: raised {robot.raised_m():.2f} m")
    return robot.raised_m()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cube_60")
