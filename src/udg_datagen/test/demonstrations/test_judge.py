"""What may be touched while a demonstration is executed."""

from collections.abc import Callable

import numpy as np
import pytest

from udg_datagen.demonstrations.demonstration import DemoConfig, Rejected
from udg_datagen.demonstrations.execution import Judge
from udg_policy.episodes.episode import Stage
from udg_sim.physics.world import Contact


class Still:
    """A world in which nothing moves and two bodies press on each other."""

    time_s = 0.0
    T_world_object = np.eye(4)

    def __init__(self, *pressing: tuple[str, str, float]) -> None:
        self._contacts = [Contact(a, b, force_n, np.zeros(3)) for a, b, force_n in pressing]

    def contacts(self, min_force_n: float, wanted: Callable[[str, str], bool]) -> list[Contact]:
        return [c for c in self._contacts if c.force_n >= min_force_n and wanted(c.a, c.b)]


FINGER, PALM, WRIST = "left_hand_thumb_rota_link2", "left_hand_link", "left_wrist_3_link"


def look(*pressing: tuple[str, str, float], stage: Stage = Stage.GRASP) -> str:
    try:
        Judge(Still(*pressing), ("left",), DemoConfig()).look(stage)  # type: ignore[arg-type]
    except Rejected as rejected:
        return rejected.reason
    return "kept"


@pytest.mark.parametrize(
    ("pressing", "result"),
    [
        ((FINGER, "table", 14.9), "kept"),
        ((FINGER, "table", 15.1), "touched_table"),
        (("right_hand_mid_link2", "table", 0.2), "touched_table"),  # of the hand that does not act
        ((WRIST, "table", 0.2), "touched_table"),
        ((WRIST, "table", 0.05), "kept"),  # less than a touch
        ((FINGER, "object", 40.0), "kept"),
        (("object", "table", 40.0), "kept"),
        ((WRIST, "object", 0.2), "touched_other_part"),
        ((PALM, "right_hand_link", 0.2), "touched_itself"),
    ],
)
def test_fingers_of_the_acting_hands_may_brush_the_table_and_nothing_else(
    pressing: tuple[str, str, float], result: str
) -> None:
    assert look(pressing) == result


def test_a_brush_of_the_table_hides_no_other_contact() -> None:
    assert look((FINGER, "table", 10.0), (WRIST, "object", 0.2)) == "touched_other_part"


def test_the_object_is_not_touched_on_the_way() -> None:
    assert look((FINGER, "object", 0.2), stage=Stage.PREGRASP) == "touched_early"


class Raised(Still):
    """An object of which the height follows a list, a look each 0.1 s."""

    def __init__(self, heights_m: list[float]) -> None:
        super().__init__()
        self._heights_m, self.look_number = heights_m, 0

    @property
    def time_s(self) -> float:  # type: ignore[override]
        return 0.1 * self.look_number

    @property
    def T_world_object(self) -> np.ndarray:  # type: ignore[override]
        T = np.eye(4)
        T[2, 3] = self._heights_m[self.look_number]
        return T


def concluded(heights_m: list[float]) -> str:
    world = Raised([0.0, *heights_m])
    judge = Judge(world, ("left",), DemoConfig())  # type: ignore[arg-type]
    try:
        for world.look_number in range(1, len(heights_m) + 1):
            judge.look(Stage.HOLD)
        judge.conclude()
    except Rejected as rejected:
        return rejected.reason
    return "kept"


def test_what_is_dropped_after_it_was_held_long_enough_is_not_kept() -> None:
    assert concluded([0.2] * 15) == "kept"
    assert concluded([*[0.2] * 15, 0.19]) == "kept"
    assert concluded([*[0.2] * 15, 0.1]) == "dropped"
    assert concluded([*[0.2] * 5, 0.1]) == "dropped"
