"""What is seen: the robot, the cell, cameras, cloud, object, predicted hands and contacts, in viser's scene."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import trimesh
import viser

from udg_description.camera import CameraModel
from udg_description.frame_tree import FrameTree
from udg_description.frames import OBJECT_AREA, TABLE, Area
from udg_description.layout import HOME_Q, SIDES, Side
from udg_description.model import RobotModel
from udg_description.transforms import matrix_to_quat_wxyz
from udg_policy.hands.fingertips import fingertip_paths
from udg_policy.hands.ghosts import SIDE_RGB, hand_hulls, hand_poses
from udg_sim.cameras.scene_mesh import primitive_meshes
from udg_sim.cameras.video import OBJECT_COLOUR, TABLE_COLOUR, link_colour

LABEL_COLOURS = np.array([[232, 116, 44], [51, 128, 242], [242, 115, 38]], dtype=np.uint8)  # seen, left, right robot
SEEN_COLOUR = np.array([30, 160, 90], dtype=np.uint8)
FORCE_COLOUR = (220, 30, 60)
CAMERA_COLOUR = (90, 90, 90)
WORKSPACE_COLOUR = (120, 160, 120)
SMALLEST_TURN_RAD = 1e-4  # less is not sent
NEWTON_M = 0.004  # length of a force's line a newton
LONGEST_FORCE_M = 0.12
_ROOT = "/robot"


class Scene:
    """Setters of what is seen; each may be called at any time, and sends what has changed."""

    def __init__(self, server: viser.ViserServer, cameras: Sequence[CameraModel] = ()) -> None:
        self._server = server
        self._scene = server.scene
        self._scene.set_up_direction("+z")
        self._scene.configure_default_lights(cast_shadow=False)
        self._scene.configure_environment_map(hdri=None)  # without a GPU, reflections cost ten times all the rest
        self._scene.add_light_ambient("/light", intensity=1.2)
        server.initial_camera.position = (1.8, -0.95, 1.1)
        server.initial_camera.look_at = (0.35, 0.1, 0.2)
        self._robot = RobotModel()
        self._tree = FrameTree(self._robot.urdf)
        self._draw_cell()
        for camera in cameras:
            self._draw_camera(camera)
        self._root = self._scene.add_frame(_ROOT, show_axes=False)
        self._joints = self._draw_robot()
        self._shown_quats = np.zeros((len(self._joints), 4))
        self._cloud: viser.PointCloudHandle | None = None
        self._object_key = ""
        self._object: viser.MeshHandle | None = None
        self.set_q(HOME_Q)

    # --- what stands --------------------------------------------------------------------------------------------------

    def _draw_cell(self) -> None:
        size = (TABLE.x_max - TABLE.x_min, TABLE.y_max - TABLE.y_min, 0.02)
        place = (TABLE.center[0], TABLE.center[1], -0.01)
        self._scene.add_box("/cell/table", color=TABLE_COLOUR, dimensions=size, position=place, cast_shadow=False)
        for name, area in OBJECT_AREA.items():
            self._draw_outline(f"/cell/workspace/{name}", area)

    def _draw_outline(self, name: str, area: Area) -> None:
        x, y = (area.x_min, area.x_max), (area.y_min, area.y_max)
        corners = np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])])
        corners = np.column_stack([corners, np.full(4, 0.001)])
        lines = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
        self._scene.add_line_segments(name, lines, WORKSPACE_COLOUR, thickness=0.004)

    def _draw_camera(self, camera: CameraModel) -> None:
        self._scene.add_camera_frustum(
            f"/cameras/{camera.name}",
            fov=2.0 * math.atan2(0.5 * camera.height, camera.fy),
            aspect=camera.width / camera.height,
            scale=0.12,
            thickness=0.003,
            color=CAMERA_COLOUR,
            wxyz=matrix_to_quat_wxyz(camera.T_world_camera[:3, :3]),
            position=camera.T_world_camera[:3, 3],
        )

    def _draw_robot(self) -> list[viser.FrameHandle]:
        """One frame a link, each below its parent's, with the link's mesh; returns those of the moving joints."""
        edges = [*self._tree.fixed]
        edges += [(*names, T) for names, T in zip(self._tree.moving, self._tree.poses(HOME_Q), strict=True)]
        by_parent: dict[str, list[tuple[str, np.ndarray]]] = {}
        for parent, child, T_parent_child in edges:
            by_parent.setdefault(parent, []).append((child, T_parent_child))
        frames: dict[str, viser.FrameHandle] = {}
        waiting = [("world", _ROOT)]
        while waiting:
            parent, path = waiting.pop()
            for child, T_parent_child in by_parent.get(parent, ()):
                name = f"{path}/{child}"
                frames[child] = self._scene.add_frame(
                    name,
                    show_axes=False,
                    wxyz=matrix_to_quat_wxyz(T_parent_child[:3, :3]),
                    position=T_parent_child[:3, 3],
                )
                meshes = primitive_meshes(self._robot.geometry(child))
                if meshes:
                    self._add_mesh(f"{name}/shape", trimesh.util.concatenate(meshes), link_colour(child))
                waiting.append((child, name))
        return [frames[child] for _, child in self._tree.moving]

    def _add_mesh(
        self, name: str, mesh: trimesh.Trimesh, colour: tuple[int, int, int], opacity: float | None = None
    ) -> viser.MeshHandle:
        vertices, faces = np.asarray(mesh.vertices, dtype=np.float32), np.asarray(mesh.faces, dtype=np.uint32)
        return self._scene.add_mesh_simple(name, vertices, faces, color=colour, opacity=opacity, side="double")

    # --- what moves ---------------------------------------------------------------------------------------------------

    def set_q(self, q: np.ndarray) -> None:
        """Pose the robot at joint angles (36,) [rad]."""
        quats = matrix_to_quat_wxyz(self._tree.poses(q)[:, :3, :3])
        turned = np.flatnonzero(np.abs(quats - self._shown_quats).max(axis=1) > 0.5 * SMALLEST_TURN_RAD)
        with self._server.atomic():
            for index in turned:
                self._joints[index].wxyz = quats[index]
        self._shown_quats[turned] = quats[turned]

    def set_cloud(self, points: np.ndarray | None) -> None:
        """Show the scene cloud (N, 4): x, y, z [m, world], label 0 seen, 1 left robot, 2 right robot; None: none."""
        if points is None:
            points = np.zeros((0, 4), dtype=np.float32)
        xyz = np.ascontiguousarray(points[:, :3], dtype=np.float32)
        colours = LABEL_COLOURS.copy()
        colours[0] = SEEN_COLOUR
        colours = colours[points[:, 3].astype(int)]
        self._cloud = self._scene.add_point_cloud("/cloud", xyz, colours, point_size=0.005, point_shape="circle")

    def set_object(self, key: str, mesh: trimesh.Trimesh | None, T_world_object: np.ndarray | None) -> None:
        """Show an object's mesh at its pose; `key` tells one mesh from another. None: no object."""
        if mesh is None or T_world_object is None:
            if self._object is not None:
                self._object.remove()
            self._object, self._object_key = None, ""
            return
        if self._object is None or key != self._object_key:
            self._object = self._add_mesh("/object", mesh, OBJECT_COLOUR)
            self._object_key = key
        with self._server.atomic():
            self._object.wxyz = matrix_to_quat_wxyz(T_world_object[:3, :3])
            self._object.position = T_world_object[:3, 3]

    def set_chunk(self, chunk: np.ndarray | None) -> None:
        """Show where a chunk (K, 36) [rad] brings each hand at its end, and its fingertips' paths; None: nothing."""
        if chunk is None or len(chunk) == 0:
            for side in SIDES:
                self._scene.remove_by_name(f"/predicted/{side}_hand")
                self._scene.remove_by_name(f"/predicted/{side}_paths")
            return
        places = hand_poses(chunk[-1:])
        for side, paths in zip(SIDES, fingertip_paths(chunk), strict=True):
            red, green, blue = (round(255 * part) for part in SIDE_RGB[side])
            colour = (red, green, blue)
            hand = _posed_hulls(side, places[side][0])
            self._add_mesh(f"/predicted/{side}_hand", hand, colour, opacity=0.35)
            lines = np.stack([paths[:, :-1], paths[:, 1:]], axis=2).reshape(-1, 2, 3)
            self._scene.add_line_segments(f"/predicted/{side}_paths", lines, colour, thickness=0.003)

    def set_contacts(self, contacts: np.ndarray) -> None:
        """Show contacts (N, 4): x, y, z [m, world], force [N], as lines upwards whose length is the force."""
        up = np.zeros((len(contacts), 3))
        up[:, 2] = contacts[:, 3]
        self.set_forces(contacts[:, :3], up)

    def set_forces(self, points: np.ndarray, forces: np.ndarray) -> None:
        """Show forces (N, 3) [N] at points (N, 3) [m], in the world."""
        size = np.linalg.norm(forces, axis=1, keepdims=True)
        shorter = np.minimum(1.0, LONGEST_FORCE_M / np.maximum(NEWTON_M * size, 1e-9))
        lines = np.stack([points, points + NEWTON_M * shorter * forces], axis=1)
        if len(lines) == 0:
            self._scene.remove_by_name("/forces")
        else:
            self._scene.add_line_segments("/forces", lines, FORCE_COLOUR, thickness=0.004)

    def show_robot(self, visible: bool) -> None:
        """Show or hide the whole robot."""
        self._root.visible = visible

    def set_hand(self, side: Side, hand: RobotModel, T_world_link: np.ndarray) -> None:
        """Show a hand without its arm, with the poses (L, 4, 4) of its links."""
        parts = []
        for name, T in zip(hand.link_names, T_world_link, strict=True):
            parts += [mesh.apply_transform(T) for mesh in primitive_meshes(hand.geometry(name))]
        red, green, blue = (round(255 * part) for part in SIDE_RGB[side])
        self._add_mesh(f"/hands/{side}", trimesh.util.concatenate(parts), (red, green, blue))


def _posed_hulls(side: Side, T_world_link: np.ndarray) -> trimesh.Trimesh:
    vertices, faces, count = [], [], 0
    for hull, T in zip(hand_hulls(side).hulls, T_world_link, strict=True):
        vertices.append(hull.vertices @ T[:3, :3].T + T[:3, 3])
        faces.append(hull.faces + count)
        count += len(hull.vertices)
    return trimesh.Trimesh(np.concatenate(vertices), np.concatenate(faces), process=False)
