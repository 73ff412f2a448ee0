"""The robot's links in one ray casting structure that is built once, whatever the posture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udg_sim.cameras.scene_mesh import RobotMesh
from udg_sim.cameras.view import View
from udg_sim.geometry.ray_scene import ray_scene


class LinkHits(NamedTuple):
    """Rays that hit their link nearer than what was known, the nearest hit last: places (K,) in the rays given, depth
    (K,) [m], cosine of incidence (K,)."""

    rays: np.ndarray
    depth: np.ndarray
    cosine: np.ndarray


class LinkScene:
    """Each link stands still in its own frame, far from the others; rays are moved into the frame of a link.

    A ray starts where it enters the ball about the link at the earliest; what it hits outside of the ball is none of
    the link's triangles and does not count.
    """

    def __init__(self, mesh: RobotMesh) -> None:
        links = np.unique(mesh.vertex_link)
        count = len(mesh.link_names)
        self._center_link = np.zeros((count, 3))
        self._radius = np.zeros(count)
        for link in links:
            points = mesh.points_link[mesh.vertex_link == link]
            center = 0.5 * (points.min(axis=0) + points.max(axis=0))
            self._center_link[link] = center
            self._radius[link] = np.linalg.norm(points - center, axis=1).max() + 1e-4
        edge = int(np.ceil(count ** (1 / 3)))
        cells = np.stack(np.unravel_index(np.arange(count), (edge, edge, edge)), axis=1)
        self._place = 2.5 * self._radius.max() * (cells - 0.5 * (edge - 1))
        shift = self._place - self._center_link
        self._scene = ray_scene(mesh.points_link + shift[mesh.vertex_link], mesh.faces)
        self._face_link = mesh.face_link

    def cast(
        self, view: View, T_world_link: np.ndarray, pixels: np.ndarray, links: np.ndarray, known: np.ndarray
    ) -> LinkHits:
        """Cast rays of a view, each against one link, at poses T_world_link (L, 4, 4).

        pixels (N,), links (N,) and the depth known there (N,) [m].
        """
        import open3d

        R = T_world_link[:, :3, :3]
        center = np.einsum("lij,lj->li", R, self._center_link) + T_world_link[:, :3, 3]
        entry_m = np.maximum(np.linalg.norm(center - view.origin, axis=1) - self._radius, 0.0).astype(np.float32)
        start = entry_m[links] / view.ray_norm[pixels]
        ahead = np.flatnonzero(start < known)
        pixels, links, start = pixels[ahead], links[ahead], start[ahead]
        origin = np.einsum("lji,lj->li", R, view.origin - center) + self._place
        rays = np.empty((len(ahead), 6), dtype=np.float32)
        rays[:, 3:] = np.einsum("ni,nij->nj", view.directions[pixels], R.astype(np.float32)[links])
        rays[:, :3] = origin.astype(np.float32)[links]
        rays[:, :3] += start[:, None] * rays[:, 3:]
        result = self._scene.cast_rays(open3d.core.Tensor.from_numpy(rays), nthreads=1)
        depth = start + result["t_hit"].numpy()
        nearer = np.flatnonzero(depth < known[ahead])
        nearer = nearer[self._face_link[result["primitive_ids"].numpy()[nearer]] == links[nearer]]
        nearer = nearer[np.argsort(-depth[nearer], kind="stable")]
        normals = result["primitive_normals"].numpy()[nearer]
        cosine = np.abs(np.einsum("ij,ij->i", normals, rays[nearer, 3:])) / view.ray_norm[pixels[nearer]]
        return LinkHits(ahead[nearer], depth[nearer], cosine)
