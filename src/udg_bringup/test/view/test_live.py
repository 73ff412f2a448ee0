"""The live view: what it draws of its inputs, and when."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from udg_bringup.view.live import CHUNK_SHOWN_S, LiveView
from udg_description.layout import HOME_Q
from udg_sim.objects.library import ObjectLibrary
from udg_sim.trials.status import TrialStatus


class Told:
    """Writes down what is called."""

    def __init__(self, **answers: object) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        def call(*words: Any) -> object:  # noqa: ANN401
            self.calls.append((name, words))
            return self._answers.get(name)

        return call

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [words for called, words in self.calls if called == name]


class Rig:
    """A view, and what it has told scene and panel."""

    def __init__(self, clients: int = 1) -> None:
        self.server = Told(get_clients=dict.fromkeys(range(clients)))
        self.scene, self.panel = Told(), Told()
        self.view = LiveView(self.server, self.scene, self.panel, ObjectLibrary())  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        return str(self.panel.of("show_text")[-1][0])


def status(time_s: float, *, success: bool = False, trial: int = 0) -> TrialStatus:
    return TrialStatus(
        object="soda_can",
        seed=4,
        trial=trial,
        start_s=100.0 * trial,
        time_s=time_s,
        object_z_m=0.06,
        raised_m=0.02,
        success=success,
        done=success,
        q=HOME_Q.tolist(),
        T_world_object=np.eye(4).tolist(),
        image_sent_s=math.nan,
        tick_ms=math.nan,
        contacts=[[0.5, 0.0, 0.1, 3.0]],
    )


def test_each_input_is_drawn_once() -> None:
    rig = Rig()
    rig.view.set_q(HOME_Q)
    rig.view.set_cloud(np.zeros((3, 4)))
    rig.view.set_status(status(1.0))
    for now_s in (0.0, 0.1):
        rig.view.draw(now_s)
    assert [len(rig.scene.of(name)) for name in ("set_q", "set_cloud", "set_object", "set_contacts")] == [1, 1, 1, 1]
    np.testing.assert_array_equal(rig.scene.of("set_contacts")[0][0], [[0.5, 0.0, 0.1, 3.0]])
    assert "soda_can, seed 4, trial 0: under way, 1.0 s" in rig.text


def test_nothing_is_drawn_while_nobody_looks_and_the_newest_when_somebody_comes() -> None:
    rig = Rig(clients=0)
    rig.view.set_q(HOME_Q)
    rig.view.set_q(HOME_Q + 1.0)
    rig.view.draw(0.0)
    assert rig.scene.calls == [] and rig.panel.calls == []
    rig.server._answers["get_clients"] = {0: None}
    rig.view.draw(0.1)
    np.testing.assert_array_equal(rig.scene.of("set_q")[0][0], HOME_Q + 1.0)


def test_a_prediction_that_is_not_renewed_is_taken_away_once() -> None:
    rig = Rig()
    chunk = np.tile(HOME_Q, (8, 1))
    rig.view.set_chunk(chunk, 10.0, 31.0)
    for now_s in (10.0, 10.0 + 0.5 * CHUNK_SHOWN_S, 10.01 + CHUNK_SHOWN_S, 20.0):
        rig.view.draw(now_s)
    shown = [words[0] for words in rig.scene.of("set_chunk")]
    assert len(shown) == 2 and shown[0] is chunk and shown[1] is None


def test_the_tick_is_plotted_over_the_time_since_the_view_began() -> None:
    rig = Rig()
    for k in range(3):
        rig.view.set_chunk(np.zeros((8, 36)), 50.0 + k, 30.0 + k)
    rig.view.set_chunk(np.zeros((8, 36)), 53.0, math.nan)  # its images are not known
    rig.view.draw(53.0)
    series = dict(rig.panel.of("show"))["Tick"]
    assert [values.tolist() for values in series.arrays()] == [[0.0, 1.0, 2.0], [30.0, 31.0, 32.0]]


def test_rejections_and_complaints_stand_in_the_text() -> None:
    rig = Rig()
    rig.view.set_diagnosis({"mode": "following", "velocity_limit": "2"}, ("velocity_limit",), 0.0)
    rig.view.set_diagnosis({"mode": "holding", "velocity_limit": "5"}, ("velocity_limit",), 1.0)
    rig.view.set_complaints("left camera: silent")
    rig.view.draw(1.0)
    assert "control: **holding**" in rig.text and "velocity_limit 3" in rig.text
    assert "silent: left camera: silent" in rig.text
    rig.view.set_complaints("")
    rig.view.draw(2.0)
    assert "silent" not in rig.text and "control: **holding**" in rig.text


def test_complaints_stay_until_the_next_word_of_the_supervisor() -> None:
    rig = Rig()
    rig.view.set_complaints("left camera: silent")
    for now_s in (1.0, 1.1):
        rig.view.draw(now_s)
    assert "left camera" in rig.text


def test_outcomes_are_counted() -> None:
    rig = Rig()
    rig.view.set_status(status(2.0, success=True))
    rig.view.set_status(status(0.0, trial=1))
    rig.view.draw(0.0)
    assert "1 of 1 trials lifted" in rig.text


def test_an_object_that_the_library_lacks_is_told_and_the_rest_is_drawn() -> None:
    rig = Rig()
    rig.view.set_q(HOME_Q)
    rig.view.set_status(TrialStatus(**{**vars(status(0.0)), "object": "no_such_thing"}))
    rig.view.draw(0.0)
    assert rig.scene.of("set_q") and "no_such_thing" in rig.text
    assert rig.scene.of("set_object")[0][1] is None
