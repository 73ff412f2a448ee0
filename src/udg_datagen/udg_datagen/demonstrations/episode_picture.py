"""Pictures and videos of recorded episodes: the robot and the object, and beside it the cloud that the policy sees."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import trimesh

from udg_description.clock import STEP_S
from udg_description.cloud_labels import LABEL_LEFT, LABEL_RIGHT, LABEL_SEEN
from udg_description.errors import UdgError
from udg_policy.episodes.dataset import Episode
from udg_policy.episodes.episode import Stage
from udg_sim.cameras.video import OBJECT_COLOUR, SceneRenderer, Viewpoint, captioned, video_writer
from udg_sim.objects.library import ObjectLibrary, ObjectModel

_POINT_RADIUS_M = 0.003
_LABEL_COLOURS = {LABEL_SEEN: OBJECT_COLOUR, LABEL_LEFT: (60, 120, 190), LABEL_RIGHT: (70, 150, 90)}


def cloud_mesh(points: np.ndarray) -> trimesh.Trimesh:
    """Points (N, 3) [m] as octahedra in one mesh."""
    shape = trimesh.Trimesh(
        vertices=np.concatenate([np.eye(3), -np.eye(3)]) * _POINT_RADIUS_M,
        faces=[[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]],
        process=False,
    )
    vertices = (points[:, None] + shape.vertices).reshape(-1, 3)
    faces = (len(shape.vertices) * np.arange(len(points))[:, None, None] + shape.faces).reshape(-1, 3)
    return trimesh.Trimesh(vertices, faces, process=False)


@lru_cache(maxsize=256)
def _model(object_id: str) -> ObjectModel | None:
    """The object of an episode; None where this machine does not have it."""
    try:
        return ObjectLibrary().get(object_id)
    except UdgError:
        return None


def _stage(number: int) -> str:
    """Its name; episodes of others may have numbers of their own."""
    return Stage(number).name.lower() if number in set(Stage) else f"stage {number}"


class EpisodeRenderer:
    """Draws the steps of episodes from one viewpoint."""

    def __init__(self, width: int = 480, height: int = 400) -> None:
        eye = (1.75, -0.3, 0.95)
        view = Viewpoint(eye=eye, target=(0.4, 0.0, 0.22), fov_deg=36.0, width=width, height=height)
        self._renderer = SceneRenderer(view)

    def scene(self, episode: Episode, step: int) -> np.ndarray:
        """Picture (H, W, 3) uint8 of the robot and the object at a step; of the seen points where the object, or its
        pose, is not known."""
        model = _model(str(episode.meta.get("object", "")))
        if episode.T_world_object is not None and model is not None:
            return self._renderer.render(episode.q[step], [(model, episode.T_world_object[step].astype(np.float64))])
        seen = episode.cloud_xyz[step][episode.cloud_label[step] == LABEL_SEEN]
        return self._renderer.render(episode.q[step], [(cloud_mesh(seen), np.eye(4))] if len(seen) else [])

    def cloud(self, episode: Episode, step: int) -> np.ndarray:
        """Picture (H, W, 3) uint8 of the cloud of a step: seen points, imaged left and right robot by colour."""
        meshes, colours = [], []
        for label, colour in _LABEL_COLOURS.items():
            points = episode.cloud_xyz[step][episode.cloud_label[step] == label]
            if len(points):
                meshes.append((cloud_mesh(points), np.eye(4)))
                colours.append(colour)
        return self._renderer.render(None, meshes, colours=colours)

    def tile(self, episode: Episode, step: int) -> np.ndarray:
        """Captioned picture of an episode at a step."""
        meta = episode.meta
        words = [meta.get("object", "?"), meta.get("strategy", ""), "+".join(meta.get("sides", []))]
        return captioned(self.scene(episode, step), "  ".join(str(w) for w in words if w))

    def replay(self, episode: Episode, path: Path) -> None:
        """Video of an episode in real time: scene and cloud side by side."""
        with video_writer(path, fps=1.0 / STEP_S) as writer:
            for step in range(len(episode)):
                scene = captioned(self.scene(episode, step), f"{step * STEP_S:.1f} s  {_stage(episode.stage[step])}")
                writer.add(np.concatenate([scene, self.cloud(episode, step)], axis=1))
