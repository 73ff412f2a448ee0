"""Clouds of an episode imaged again from its states: no physics, no expert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from udg_datagen.demonstrations.observer import Observer
from udg_datagen.demonstrations.states_file import EpisodeStates, StatesError
from udg_datagen.demonstrations.stopwatch import Stopwatch
from udg_description.camera import default_cameras
from udg_description.model import RobotModel
from udg_perception.scene_cloud import SceneCloudConfig
from udg_policy.episodes.episode import Episode, canonical_json
from udg_policy.episodes.episode_file import encode_episode, read_header
from udg_sim.objects.library import ObjectLibrary


@dataclass(frozen=True, kw_only=True)
class Imaged:
    """The file of an episode, and whether it is the original's content."""

    data: bytes
    same: bool


def meta_of(states: EpisodeStates, draw: int) -> dict[str, Any]:
    """The meta data of an episode with clouds of a draw; 0: the original."""
    return {**states.meta, "draw": draw} if draw else states.meta


def noise_seed(states: EpisodeStates, draw: int) -> int:
    """The seed of the depth images; 0: the original."""
    if draw == 0:
        return states.noise_seed
    return int(np.random.SeedSequence([states.noise_seed, draw]).generate_state(1, np.uint64)[0])


class Imager:
    """Images episodes again: a worker's runner, with the settings of the clouds of each data set."""

    def __init__(self, clouds: Sequence[SceneCloudConfig], draw: int) -> None:
        self._draw = draw
        self._library = ObjectLibrary()
        model, self._cameras = RobotModel(), default_cameras()
        self._observers = [Observer(self._cameras, config, model) for config in clouds]
        self._observer_of_rig: dict[tuple[int, str], Observer] = {}

    def __call__(self, states: EpisodeStates) -> Imaged:
        """The file of an episode. Raises UdgError for an object or a camera that is not known here."""
        data = encode_episode(self.episode(states))
        return Imaged(data=data, same=read_header(data, states.name).content == states.content)

    def episode(self, states: EpisodeStates) -> Episode:
        """The episode with its clouds."""
        cloud = self._observer(states).observe(
            states.q.astype(float),
            states.T_world_object.astype(float),
            self._library.get(states.meta["object"]),
            noise_seed(states, self._draw),
            Stopwatch(),
            states.whole_images,
        )
        return Episode(
            cloud_xyz=cloud[..., :3],
            cloud_label=cloud[..., 3].astype(np.uint8),
            q=states.q,
            target=states.target,
            stage=states.stage,
            T_world_object=states.T_world_object,
            meta=meta_of(states, self._draw),
        )

    def _observer(self, states: EpisodeStates) -> Observer:
        key = states.set_index, canonical_json(states.meta["cameras"])
        if key not in self._observer_of_rig:
            poses = {camera["name"]: np.array(camera["T_world_camera"]) for camera in states.meta["cameras"]}
            valid = [camera.name for camera in self._cameras]
            if list(poses) != valid:
                raise StatesError(f"{states.name}: has cameras {', '.join(poses)}; valid: {', '.join(valid)}")
            cameras = [camera.with_pose(poses[camera.name]) for camera in self._cameras]
            self._observer_of_rig[key] = self._observers[states.set_index].with_cameras(cameras)
        return self._observer_of_rig[key]
