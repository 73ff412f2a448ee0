"""What policies may return, and what becomes of those that fail."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from udg_datagen.evaluation.policy import DIED, INVALID, NOT_RUN, RAISED, Observation, PolicyFault, Start, act, checked
from udg_description.layout import HOME_Q


def test_one_target_and_several_are_taken() -> None:
    assert checked(HOME_Q).shape == (1, 36)
    np.testing.assert_array_equal(checked(np.tile(HOME_Q, (3, 1)).tolist()), np.tile(HOME_Q, (3, 1)))


@pytest.mark.parametrize(
    "action",
    [
        None,
        "left",
        np.zeros(35),
        np.zeros((0, 36)),
        np.zeros((1001, 36)),
        np.zeros((1, 1, 36)),
        np.full(36, np.nan),
        np.full((2, 36), np.inf),
        [[1.0], [1.0, 2.0]],
        {},
        torch.zeros(36, requires_grad=True),
        [10**400] * 36,
        np.full(36, 1j),
        ["1"] * 36,
    ],
)
def test_what_is_no_joint_targets_is_a_fault(action: object) -> None:
    with pytest.raises(PolicyFault) as fault:
        checked(action)
    assert fault.value.cause == INVALID and "act returned" in str(fault.value)


class Failing:
    def __init__(self, fail: Callable[[], np.ndarray]) -> None:
        self._fail = fail

    def reset(self, start: Start) -> None:
        pass

    def act(self, observation: Observation) -> np.ndarray:
        return self._fail()


def observation() -> Observation:
    return Observation(lambda: np.zeros((1, 4)), HOME_Q, 0.0)


def test_what_a_policy_raises_is_a_fault_of_its_own() -> None:
    def divides() -> np.ndarray:
        return np.array([1 // 0])

    with pytest.raises(PolicyFault) as fault:
        act(Failing(divides), observation())
    assert (fault.value.cause, str(fault.value)) == (RAISED, "ZeroDivisionError: integer division or modulo by zero")

    def leaves() -> np.ndarray:
        raise SystemExit(3)

    with pytest.raises(PolicyFault, match="SystemExit: 3"):
        act(Failing(leaves), observation())

    def tells() -> np.ndarray:
        raise PolicyFault("no_plan", "no free path")

    with pytest.raises(PolicyFault) as told:
        act(Failing(tells), observation())
    assert told.value.cause == "no_plan" != DIED


@pytest.mark.parametrize("cause", ["", NOT_RUN, "two words", None, "a,b"])
def test_a_fault_of_a_cause_that_is_no_word_or_takes_the_trial_out_is_counted_as_raised(cause: str) -> None:
    def tells() -> np.ndarray:
        raise PolicyFault(cause, "why")

    with pytest.raises(PolicyFault) as told:
        act(Failing(tells), observation())
    assert told.value.cause == RAISED and repr(cause) in str(told.value)


def test_the_cloud_is_made_when_it_is_looked_at_and_once() -> None:
    looks = []

    def look() -> np.ndarray:
        looks.append(1)
        return np.zeros((5, 4), dtype=np.float32)

    seen = Observation(look, HOME_Q, 0.3)
    assert looks == []
    assert seen.points is seen.points and looks == [1]
