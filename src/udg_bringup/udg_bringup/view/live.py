"""The live view: newest inputs in, drawn at a limited rate, and only while somebody is watching."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import trimesh
import viser

from udg_bringup.view.figures import Outcomes, Rejections, Series
from udg_bringup.view.panel import Panel
from udg_bringup.view.scene import Scene
from udg_description.errors import UdgError
from udg_sim.objects.library import ObjectLibrary
from udg_sim.trials.status import TrialStatus

CHUNK_SHOWN_S = 1.0  # an older prediction is taken away


@dataclass
class Inputs:
    """The newest of each; what has been drawn is None again."""

    q: np.ndarray | None = None  # (36,) [rad]
    cloud: np.ndarray | None = None  # (N, 4)
    chunk: np.ndarray | None = None  # (K, 36) [rad]
    status: TrialStatus | None = None
    diagnosis: dict[str, str] = field(default_factory=dict)  # of the controller
    complaints: str | None = None  # of the supervisor


class LiveView:
    """Inputs may come from any thread; `draw` is called by one."""

    def __init__(self, server: viser.ViserServer, scene: Scene, panel: Panel, library: ObjectLibrary) -> None:
        self._server, self._scene, self._panel, self._library = server, scene, panel, library
        self._lock = threading.Lock()
        self._inputs = Inputs()
        self._ticks = Series(("depth image to chunk [ms]",))
        self._height = Series(("raised [m]",))
        self._rejections, self._outcomes = Rejections(), Outcomes()
        self._meshes: dict[str, trimesh.Trimesh | None] = {}
        self._status: TrialStatus | None = None
        self._diagnosis: Mapping[str, str] = {}
        self._complaints = ""
        self._chunk_since_s = -math.inf
        self._began_s: float | None = None

    # --- inputs -------------------------------------------------------------------------------------------------------

    def set_q(self, q: np.ndarray) -> None:
        """Measured joint angles (36,) [rad]."""
        with self._lock:
            self._inputs.q = q

    def set_cloud(self, points: np.ndarray) -> None:
        """The scene cloud (N, 4)."""
        with self._lock:
            self._inputs.cloud = points

    def set_chunk(self, chunk: np.ndarray, now_s: float, tick_ms: float) -> None:
        """What the policy predicts (K, 36) [rad], or (0, 36); the time since its depth image [ms], or NaN."""
        with self._lock:
            self._inputs.chunk = chunk
            self._chunk_since_s = now_s
            if math.isfinite(tick_ms):
                self._ticks.add(self._since_s(now_s), tick_ms)

    def set_status(self, status: TrialStatus) -> None:
        """State of the simulated trial."""
        with self._lock:
            self._inputs.status = status
            self._height.add(status.time_s, status.raised_m)
            self._outcomes.add((status.object, status.seed, status.trial, status.start_s), status.success, status.done)

    def set_diagnosis(self, values: Mapping[str, str], reasons: tuple[str, ...], now_s: float) -> None:
        """What the controller says of itself, with a counter for each reason of a rejection."""
        counts = {name: int(values[name]) for name in reasons if values.get(name, "").isdecimal()}
        with self._lock:
            self._inputs.diagnosis = dict(values)
            self._rejections.add(self._since_s(now_s), counts)

    def _since_s(self, now_s: float) -> float:
        if self._began_s is None:
            self._began_s = now_s
        return now_s - self._began_s

    def set_complaints(self, text: str) -> None:
        """What the supervisor misses; empty if nothing."""
        with self._lock:
            self._inputs.complaints = text

    # --- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, now_s: float) -> None:
        """Send what has changed to those who look, if any."""
        if not self._server.get_clients():
            return
        with self._lock:
            inputs, self._inputs = self._inputs, Inputs()
            stale = now_s - self._chunk_since_s > CHUNK_SHOWN_S
        self._diagnosis = inputs.diagnosis or self._diagnosis
        self._complaints = self._complaints if inputs.complaints is None else inputs.complaints
        if inputs.q is not None:
            self._scene.set_q(inputs.q)
        if inputs.cloud is not None:
            self._scene.set_cloud(inputs.cloud)
        if stale and math.isfinite(self._chunk_since_s):
            self._scene.set_chunk(None)
            self._chunk_since_s = -math.inf
        elif inputs.chunk is not None:
            self._scene.set_chunk(inputs.chunk)
        if inputs.status is not None:
            self._show_status(inputs.status)
        self._panel.show_text(self._text())
        with self._lock:
            for title, series in (
                ("Tick", self._ticks),
                ("Height of the object", self._height),
                ("Commands rejected, by reason", self._rejections.series),
                ("Trials", self._outcomes.series),
            ):
                self._panel.show(title, series)

    def _show_status(self, status: TrialStatus) -> None:
        self._status = status
        if status.object not in self._meshes:
            self._meshes[status.object] = self._mesh(status.object)
        self._scene.set_object(status.object, self._meshes[status.object], np.array(status.T_world_object))
        self._scene.set_contacts(np.array(status.contacts, dtype=float).reshape(-1, 4))

    def _mesh(self, name: str) -> trimesh.Trimesh | None:
        """The mesh of an object; None for one that this machine's library lacks."""
        try:
            return self._library.get(name).mesh
        except UdgError:
            return None

    def _text(self) -> str:
        lines = []
        status = self._status
        if status is not None:
            outcome = "**lifted**" if status.success else "over" if status.done else "under way"
            lines.append(f"{status.object}, seed {status.seed}, trial {status.trial}: {outcome}, {status.time_s:.1f} s")
            lines.append(f"{self._outcomes.lifted} of {self._outcomes.trials} trials lifted")
        if self._diagnosis:
            lines.append(f"control: **{self._diagnosis.get('mode', '?')}**")
        if self._rejections.series.names:
            newest = [values[-1] for values in self._rejections.series.arrays()[1:]]
            pairs = zip(self._rejections.series.names, newest, strict=True)
            lines.append("rejected: " + ", ".join(f"{name} {value:.0f}" for name, value in pairs))
        if self._complaints:
            lines.append(f"silent: {self._complaints}")
        return "\n\n".join(lines) or "waiting for the robot"
