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
