"""Colour pictures and depth by SAPIEN's own renderer, where there is a Vulkan device."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import trimesh

from udg_description.errors import UdgError
from udg_description.frames import TABLE
from udg_description.model import RobotModel
from udg_description.transforms import make_transform
from udg_sim.cameras.scene_mesh import primitive_meshes
from udg_sim.cameras.video import OBJECT_COLOUR, TABLE_COLOUR, Viewpoint, link_colour
from udg_sim.objects.library import ObjectModel
from udg_sim.physics.build import TABLE_THICKNESS
from udg_sim.physics.engine import sapien, to_pose

if TYPE_CHECKING:
    from sapien import Entity
    from sapien.render import RenderCameraComponent

_PROBE = """
import warnings
warnings.simplefilter("ignore")
import sapien
scene = sapien.Scene([sapien.physx.PhysxCpuSystem(), sapien.render.RenderSystem()])
camera = sapien.render.RenderCameraComponent(16, 16)
entity = sapien.Entity()
entity.add_component(camera)
scene.add_entity(entity)
scene.update_render()
camera.take_picture()
assert camera.get_picture("Color").shape == (16, 16, 4)
"""
_T_OPTICAL_SAPIEN = make_transform(np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]))
"""SAPIEN's cameras look along x with z up; optical frames along z with y down."""


class RendererError(UdgError):
    """SAPIEN's renderer cannot be used on this machine."""


@lru_cache(maxsize=1)
def vulkan_available(timeout_s: float = 180.0) -> bool:
    """Whether SAPIEN renders a picture here. Tried in another process: a broken driver may crash it."""
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


class SapienRenderer:
    """The same pictures as video.SceneRenderer, by rasterisation."""

    def __init__(self, viewpoint: Viewpoint | None = None, robot: RobotModel | None = None, table: bool = True) -> None:
        """Raise RendererError where no Vulkan device renders."""
        if not vulkan_available():
            raise RendererError(
                "SAPIEN's renderer finds no working Vulkan device; install a driver (without a GPU: Mesa's lavapipe "
                ">= 24.3) or use udg_sim.cameras.video.SceneRenderer"
            )
        self.viewpoint = Viewpoint() if viewpoint is None else viewpoint
        self._model = RobotModel() if robot is None else robot
        render = sapien().render
        self._scene = sapien().Scene([sapien().physx.PhysxCpuSystem(), render.RenderSystem()])
        self._scene.set_ambient_light([0.45, 0.45, 0.47])
        self._scene.add_directional_light([-0.55, 0.25, -0.8], [1.4, 1.4, 1.35], shadow=True, shadow_scale=2.0)
        self._camera = self._make_camera()
        self._links: dict[str, Entity] = {}
        for name in self._model.link_names:
            meshes = primitive_meshes(self._model.geometry(name), detail=2)
            if meshes:
                self._links[name] = self._entity(trimesh.util.concatenate(meshes), link_colour(name))
        if table:
            size = (TABLE.x_max - TABLE.x_min, TABLE.y_max - TABLE.y_min, TABLE_THICKNESS)
            top = self._entity(trimesh.creation.box(size), TABLE_COLOUR)
            top.set_pose(to_pose(make_transform(translation=TABLE.center - [0, 0, TABLE_THICKNESS / 2])))
        self._objects: dict[str, Entity] = {}

    def render(self, q: np.ndarray, objects: Sequence[tuple[ObjectModel, np.ndarray]] = ()) -> np.ndarray:
        """Picture (H, W, 3) uint8 RGB of the robot at q (36,) [rad] and objects at T_world_object (4, 4)."""
        self._pose(q, objects)
        colour = self._camera.get_picture("Color")[..., :3]
        return (255 * np.clip(colour, 0, 1)).astype(np.uint8)

    def depth(self, q: np.ndarray, objects: Sequence[tuple[ObjectModel, np.ndarray]] = ()) -> np.ndarray:
        """Depth image (H, W) float32 [m] along the optical axis, 0 where nothing is seen."""
        self._pose(q, objects)
        position = self._camera.get_picture("Position")
        return np.maximum(-position[..., 2], 0).astype(np.float32)

    def _pose(self, q: np.ndarray, objects: Sequence[tuple[ObjectModel, np.ndarray]]) -> None:
        poses = self._model.link_poses_np(q)
        for name, entity in self._links.items():
            entity.set_pose(to_pose(poses[name]))
        shown = {model.key for model, _ in objects}
        for key in set(self._objects) - shown:
            self._scene.remove_entity(self._objects.pop(key))
        for model, T_world_object in objects:
            if model.key not in self._objects:
                self._objects[model.key] = self._entity(model.mesh, OBJECT_COLOUR)
            self._objects[model.key].set_pose(to_pose(np.asarray(T_world_object)))
        self._scene.update_render()
        self._camera.take_picture()

    def _make_camera(self) -> RenderCameraComponent:
        model = self.viewpoint.camera()
        camera = sapien().render.RenderCameraComponent(model.width, model.height)
        camera.set_perspective_parameters(0.05, 10.0, model.fx, model.fy, model.cx + 0.5, model.cy + 0.5, 0.0)
        entity = sapien().Entity()
        entity.add_component(camera)
        entity.set_pose(to_pose(model.T_world_camera @ _T_OPTICAL_SAPIEN))
        self._scene.add_entity(entity)
        return camera

    def _entity(self, mesh: trimesh.Trimesh, colour: tuple[int, int, int]) -> Entity:
        """A flat-shaded mesh in the scene."""
        render = sapien().render
        corners = mesh.triangles.reshape(-1, 3).astype(np.float32)
        normals = np.repeat(mesh.face_normals, 3, axis=0).astype(np.float32)
        linear = [(c / 255) ** 2.2 for c in colour]
        material = render.RenderMaterial(base_color=[*linear, 1.0], specular=0.2, roughness=0.7)
        shape = render.RenderShapeTriangleMesh(
            vertices=corners,
            triangles=np.arange(len(corners), dtype=np.uint32).reshape(-1, 3),
            normals=normals,
            uvs=np.zeros((len(corners), 2), dtype=np.float32),
            material=material,
        )
        body = render.RenderBodyComponent()
        body.attach(shape)
        entity = sapien().Entity()
        entity.add_component(body)
        self._scene.add_entity(entity)
        return entity
