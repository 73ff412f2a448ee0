"""What can be replayed: episodes, simulated trials, grasp files, bags. Each is a sequence of moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import trimesh

from udg_bringup.view.figures import Series
from udg_bringup.view.scene import Scene
from udg_datagen.grasp_set import GraspSet
from udg_description.clock import NS_PER_S, STEP_S
from udg_description.errors import UdgError
from udg_description.layout import part_indices
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_policy.config import DecoderConfig
from udg_policy.episodes.dataset import read_episode
from udg_policy.exchange.bag_episodes import STATE_GAP_NS, read_bag
from udg_sim.objects.library import ObjectLibrary
from udg_sim.trials.status import TrialStatus

CHUNK = DecoderConfig().chunk  # steps of an episode that are shown as its prediction
LONGEST_PAUSE_S = 0.5  # of a bag, that is waited for
GRASP_S = 1.0  # time that a grasp of a file is shown


class RecordingError(UdgError):
    """A file that cannot be replayed."""


class Recording(Protocol):
    """Moments in the order of their times."""

    title: str
    times_s: np.ndarray  # (N,) [s] from the first moment on

    def show(self, scene: Scene, index: int) -> str:
        """Show a moment; return what to tell about it (Markdown)."""

    def plots(self) -> Mapping[str, Series]:
        """Figures over the whole time, by title."""


def open_recording(path: Path, library: ObjectLibrary) -> Recording:
    """The recording of a file, by its suffix. Raises UdgError."""
    kinds: dict[str, Callable[[Path, ObjectLibrary], Recording]] = {
        ".h5": EpisodeRecording,
        ".jsonl": TrialRecording,
        ".npz": GraspRecording,
    }
    if path.suffix == ".mcap" or (path / "metadata.yaml").is_file():
        return BagRecording(path, library)
    if path.suffix not in kinds:
        raise RecordingError(f"{path}: valid: an episode (.h5), a trial of make sim (.jsonl), grasps (.npz), a bag")
    return kinds[path.suffix](path, library)


def _mesh(library: ObjectLibrary, name: str) -> trimesh.Trimesh | None:
    """The mesh of an object; None for one that this machine does not have."""
    try:
        return library.get(name).mesh
    except UdgError:
        return None


class EpisodeRecording:
    """A demonstration: its cloud, robot, object, and the targets of the next steps as the prediction."""

    def __init__(self, path: Path, library: ObjectLibrary) -> None:
        self._episode = read_episode(path)
        self._object = str(self._episode.meta.get("object", ""))
        self._mesh = _mesh(library, self._object) if self._object else None
        self.title = path.name
        self.times_s = STEP_S * np.arange(len(self._episode))

    def show(self, scene: Scene, index: int) -> str:
        """Show a frame."""
        episode = self._episode
        scene.set_q(episode.q[index])
        scene.set_cloud(np.column_stack([episode.cloud_xyz[index], episode.cloud_label[index]]))
        scene.set_chunk(episode.target[index : index + CHUNK])
        if episode.T_world_object is not None:
            scene.set_object(self._object, self._mesh, episode.T_world_object[index])
        meta = {name: episode.meta[name] for name in ("strategy", "sides", "success") if name in episode.meta}
        told = ", ".join(f"{name} {value}" for name, value in meta.items())
        return f"{self._object}: frame {index}, stage {episode.stage[index]}\n\n{told}"

    def plots(self) -> Mapping[str, Series]:
        """How far the arms' targets are ahead of the arms."""
        lag = np.abs(self._episode.target - self._episode.q)
        series = Series(("left arm [rad]", "right arm [rad]"))
        arms = [lag[:, part_indices(f"{side}_arm")].max(axis=1) for side in ("left", "right")]
        for time_s, *values in zip(self.times_s.tolist(), *(arm.tolist() for arm in arms), strict=True):
            series.add(time_s, *values)
        return {"Target ahead of the arm, greatest of six joints": series}


def read_trial(path: Path) -> list[TrialStatus]:
    """The ticks of a trial, one or more. Raises RecordingError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        statuses = [TrialStatus.from_json(line) for line in lines if line.strip()]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordingError(f"{path}: not the record of a trial: {error}") from None
    if not statuses:
        raise RecordingError(f"{path}: has no ticks")
    return statuses


class TrialRecording:
    """A simulated trial, tick by tick, as `make sim` keeps it."""

    def __init__(self, path: Path, library: ObjectLibrary) -> None:
        self._statuses = read_trial(path)
        self._mesh = _mesh(library, self._statuses[0].object)
        self.title = path.name
        self.times_s = np.array([status.time_s for status in self._statuses])

    def show(self, scene: Scene, index: int) -> str:
        """Show a tick."""
        status = self._statuses[index]
        scene.set_q(np.array(status.q))
        scene.set_object(status.object, self._mesh, np.array(status.T_world_object))
        scene.set_contacts(np.array(status.contacts, dtype=float).reshape(-1, 4))
        outcome = "**lifted**" if status.success else f"raised {status.raised_m:.3f} m"
        return f"{status.object}, seed {status.seed}, trial {status.trial}: {outcome}, {status.time_s:.1f} s"

    def plots(self) -> Mapping[str, Series]:
        """Height and tick times."""
        height, ticks = Series(("raised [m]",)), Series(("depth image to command [ms]",))
        for status in self._statuses:
            height.add(status.time_s, status.raised_m)
            if np.isfinite(status.tick_ms):
                ticks.add(status.time_s, status.tick_ms)
        return {"Height of the object": height, "Tick": ticks}


class GraspRecording:
    """The grasps of a file, one after the other, on the table for which they were made; by this robot's hands only."""

    def __init__(self, path: Path, library: ObjectLibrary) -> None:
        self._grasps = grasps = GraspSet.load(path)
        if len(grasps) == 0:
            raise RecordingError(f"{path}: has no grasps. {grasps.reason}".rstrip())
        robot = RobotModel()
        self._hands = [robot.hand(side) for side in grasps.sides]
        for hand, names in zip(self._hands, grasps.joint_names, strict=True):
            if hand.joint_names != names:
                own = current_robot().name
                raise RecordingError(f"{path}: joints {', '.join(names[:2])}, ...; valid: those of robot {own}")
        self._mesh = _mesh(library, grasps.object_id)
        self.title = path.name
        self.times_s = GRASP_S * np.arange(len(grasps))

    def show(self, scene: Scene, index: int) -> str:
        """Show a grasp, with its contact forces."""
        grasps = self._grasps
        scene.show_robot(False)
        scene.set_object(grasps.object_id, self._mesh, grasps.T_table_object)
        for h, (side, hand) in enumerate(zip(grasps.sides, self._hands, strict=True)):
            T_table_hand = grasps.T_table_object @ grasps.T_object_hand[index, h]
            scene.set_hand(side, hand, T_table_hand @ hand.link_pose_array(grasps.q_grasp[index, h]))
        rotation, place = grasps.T_table_object[:3, :3], grasps.T_table_object[:3, 3]
        points = grasps.contact_points_object[index] @ rotation.T + place
        scene.set_forces(points, grasps.contact_forces_object[index] @ rotation.T)
        held = [name for name, held in zip(grasps.tests, grasps.withstood[index], strict=True) if held]
        told = f"withstood: {', '.join(held) or 'no test'}" if grasps.tests else "not validated"
        return f"{grasps.object_id}, {grasps.strategy}: grasp {index}, energy {grasps.energy[index]:.3g}\n\n{told}"

    def plots(self) -> Mapping[str, Series]:
        """The energy of each grasp."""
        series = Series(("energy",))
        for time_s, energy in zip(self.times_s.tolist(), self._grasps.energy.tolist(), strict=True):
            series.add(time_s, energy)
        return {"Energy": series}


class BagRecording:
    """A bag of our topics, ten moments a second: the robot, and of that moment the cloud, the chunk and the trial."""

    def __init__(self, path: Path, library: ObjectLibrary) -> None:
        self._bag = bag = read_bag(path, for_episodes=False)
        self._library = library
        stamps = np.unique(bag.states.stamps)
        kept = np.unique(np.searchsorted(stamps, np.arange(stamps[0], stamps[-1] + 1, STEP_S * NS_PER_S)))
        self._stamps = stamps[kept[kept < len(stamps)]]
        self._states = bag.states.nearest(self._stamps, 0)
        near_ns = round(STEP_S * NS_PER_S / 2)
        self._clouds = bag.clouds.nearest(self._stamps, near_ns)
        self._chunks = bag.chunks.nearest(self._stamps, near_ns)
        self._trials = bag.trials.nearest(self._stamps, max(near_ns, STATE_GAP_NS))
        self._meshes: dict[str, trimesh.Trimesh | None] = {}
        self.title = path.name
        steps_s = np.minimum(np.diff(self._stamps) / NS_PER_S, LONGEST_PAUSE_S)
        self.times_s = np.concatenate([[0.0], np.cumsum(steps_s)])

    def show(self, scene: Scene, index: int) -> str:
        """Show a moment."""
        bag, lines = self._bag, []
        scene.set_q(bag.states.values[self._states[index]])
        cloud, chunk, trial = (int(places[index]) for places in (self._clouds, self._chunks, self._trials))
        scene.set_cloud(bag.clouds.values[cloud] if cloud >= 0 else None)
        scene.set_chunk(bag.chunks.values[chunk][1] if chunk >= 0 else None)
        if chunk >= 0 and bag.chunks.values[chunk][0]:
            lines.append(f"run {bag.chunks.values[chunk][0]}")
        if trial >= 0:
            status = bag.trials.values[trial]
            name = str(status["object"])
            if name not in self._meshes:
                self._meshes[name] = _mesh(self._library, name)
            scene.set_object(name, self._meshes[name], np.array(status["T_world_object"]))
            scene.set_contacts(np.array(status.get("contacts", []), dtype=float).reshape(-1, 4))
            lines.append(f"{name}, seed {status['seed']}, trial {status['trial']}: {status['time_s']:.1f} s")
        return "\n\n".join(lines)

    def plots(self) -> Mapping[str, Series]:
        """How fast the arms move."""
        series = Series(("left arm [rad/s]", "right arm [rad/s]"))
        q = np.array([self._bag.states.values[place] for place in self._states])
        speeds = np.abs(np.diff(q, axis=0)) / np.maximum(np.diff(self.times_s), 1e-3)[:, None]
        arms = [speeds[:, part_indices(f"{side}_arm")].max(axis=1) for side in ("left", "right")]
        for time_s, left, right in zip(self.times_s[1:].tolist(), *(arm.tolist() for arm in arms), strict=True):
            series.add(time_s, left, right)
        return {"Greatest joint velocity": series}
