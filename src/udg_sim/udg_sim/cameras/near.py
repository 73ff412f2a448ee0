"""Depth of what is near the objects: the pixels that see one and a few about them, and the robot before them.

That is what can become points of the scene cloud: the table lies below its crop box, and points on the robot are
removed by the self filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from udg_description.transforms import transform_points
from udg_sim.cameras.link_scene import LinkScene
from udg_sim.cameras.scene_mesh import SphereCover
from udg_sim.cameras.view import View, cast

if TYPE_CHECKING:
    from open3d.t.geometry import RaycastingScene

HALO_PX = 3
"""Steps from a pixel to a neighbour about what sees an object: a flying pixel, its neighbours, and what decides on
whether these are lost."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RigidMesh:
    """One rigid mesh with its ray casting structure and covering spheres (S, 3), (S,) [m], in its own frame."""

    scene: RaycastingScene
    centers: np.ndarray
    radii: np.ndarray


class PosedRobot(NamedTuple):
    """The robot's links (L) in a posture: ray casting structure, T_world_link (L, 4, 4), covering spheres, their
    centres (S, 3) in the world [m]."""

    links: LinkScene
    T_world_link: np.ndarray
    cover: SphereCover
    centers_world: np.ndarray


class Patch(NamedTuple):
    """Depth [m] (inf: not looked at, or nothing) and cosine of incidence (h, w) in a window of a view."""

    window: tuple[slice, slice]
    depth: np.ndarray
    cosine: np.ndarray


def depth_near(
    view: View, objects: Sequence[tuple[RigidMesh, np.ndarray]], robot: PosedRobot | None, table: bool
) -> Patch | None:
    """The patch that holds all that is near the objects at T_world_object (4, 4); None where none is in view."""
    likely = [view.may_hit(transform_points(T, mesh.centers), mesh.radii).pixels for mesh, T in objects]
    if not sum(map(len, likely)):
        return None
    window = _window_about(np.concatenate(likely), view.shape)
    top, left, width = window[0].start, window[1].start, window[1].stop - window[1].start
    cosine = view.table_cosine.reshape(view.shape)[window].ravel()
    depth = view.table_depth.reshape(view.shape)[window].ravel()
    if not table:
        depth.fill(np.inf)
    seen = np.zeros(len(depth), dtype=bool)
    for (mesh, T), pixels in zip(objects, likely, strict=True):
        row, column = np.divmod(pixels, view.shape[1])
        place = (row - top) * width + column - left
        hits = cast(view, mesh.scene, T, pixels, depth[place])
        place = place[hits.rays]
        depth[place], cosine[place], seen[place] = hits.depth, hits.cosine, True
    shape = (-1, width)
    shown = _grown(seen.reshape(shape), HALO_PX).ravel()
    if view.inside is not None:
        shown &= view.inside.reshape(view.shape)[window].ravel()
    depth[~shown] = np.inf
    place = np.flatnonzero(shown)
    if robot is not None and len(place):
        row, column = np.divmod(place, width)
        pixels = (row + top) * view.shape[1] + column + left
        ray, link = view.pairs(pixels, robot.centers_world, robot.cover.radii, robot.cover.link)
        on_robot = robot.links.cast(view, robot.T_world_link, pixels[ray], link, depth[place[ray]])
        hit = place[ray[on_robot.rays]]
        depth[hit], cosine[hit] = on_robot.depth, on_robot.cosine
    return Patch(window, depth.reshape(shape), cosine.reshape(shape))


def _window_about(pixels: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    row, column = np.divmod(pixels, shape[1])
    return tuple(  # type: ignore[return-value]
        slice(max(int(place.min()) - HALO_PX, 0), min(int(place.max()) + HALO_PX + 1, end))
        for place, end in zip((row, column), shape, strict=True)
    )


def _grown(mask: np.ndarray, steps: int) -> np.ndarray:
    """The mask (h, w) dilated by this many steps."""
    for _ in range(steps):
        before, mask = mask, mask.copy()
        mask[1:] |= before[:-1]
        mask[:-1] |= before[1:]
        mask[:, 1:] |= before[:, :-1]
        mask[:, :-1] |= before[:, 1:]
    return mask
