"""A closed surface around the volume of a nearly closed one: by winding numbers on a grid, and marching cubes.

Winding numbers bear cracks, T-junctions and overlaps: a point is inside where the surface goes round it more than
half a time (Jacobson et al. 2013, Robust Inside-Outside Segmentation using Generalized Winding Numbers).
"""

import numpy as np
import trimesh

_POINTS = 300_000  # of the grid
_PROBES = 4000
_UNCLEAR = 0.06  # share of the inside that may be neither in nor out
_CORNERS = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1))


def surface_of_volume(mesh: trimesh.Trimesh, closing: float = 0.0) -> trimesh.Trimesh | None:
    """The surface of the volume that `mesh` goes round, faces turned outward; None if it encloses none clearly.

    closing: gaps up to twice this length are closed, corners that look in are filled by as much.
    """
    import point_cloud_utils

    vertices = np.ascontiguousarray(mesh.vertices, dtype=float)
    faces = np.ascontiguousarray(mesh.faces, dtype=np.int32)
    low, high = mesh.bounds
    probes = low + (high - low) * np.random.default_rng(0).random((_PROBES, 3))
    share = np.abs(point_cloud_utils.triangle_soup_fast_winding_number(vertices, faces, probes))
    if ((share > 0.15) & (share < 0.85)).sum() > 0.5 * (share > 0.5).sum():
        return None  # hardly goes round anything: not worth a grid
    h = float(np.cbrt(np.prod(high - low + 0.02 * (high - low).max()) / _POINTS))
    low = low - closing - 2.37 * h  # no plane of the mesh on one of the grid
    count = np.ceil((high + closing + 2.4 * h - low) / h).astype(int) + 1
    axes = [low[k] + h * np.arange(count[k]) for k in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    wound = point_cloud_utils.triangle_soup_fast_winding_number(vertices, faces, points)
    distance = point_cloud_utils.closest_points_on_mesh(points, vertices, faces)[0]
    if (wound < -0.5).sum() > (wound > 0.5).sum():  # all of it inside out
        wound = -wound
    inside = wound > 0.5
    unclear = (wound > 0.15) & (wound < 0.85) & (distance > 1.5 * h)
    inverted = (wound < -0.5).sum()  # by a part that is turned against the rest
    if not inside.any() or inverted > _UNCLEAR * inside.sum() or unclear.sum() > _UNCLEAR * inside.sum():
        return None
    signed = np.where(inside, -distance, distance)
    if closing > 0.0:
        signed = _closed(signed.reshape(count), h, closing).ravel()
    return _marched(signed, points, count)


def _closed(signed: np.ndarray, h: float, reach: float) -> np.ndarray:
    """Signed distance of a volume that grew and shrank again by `reach`: gaps of twice that are bridged."""
    from scipy.ndimage import distance_transform_edt

    grown = signed - reach
    outside = grown > 0.0
    depth = distance_transform_edt(~outside, sampling=h)  # inside the grown volume, to its surface
    return np.minimum(signed, reach - depth + h)  # depth is to the middle of a cell


def _marched(signed: np.ndarray, points: np.ndarray, count: np.ndarray) -> trimesh.Trimesh | None:
    import point_cloud_utils

    index = np.arange(len(points)).reshape(count)
    n = count - 1
    cubes = np.stack([index[i : n[0] + i, j : n[1] + j, k : n[2] + k].ravel() for i, j, k in _CORNERS], axis=1)
    values = signed[cubes]
    mixed = (values.min(axis=1) < 0.0) & (values.max(axis=1) >= 0.0)
    if not mixed.any():
        return None
    vertices, faces = point_cloud_utils.marching_cubes_sparse_voxel_grid(
        signed, points, np.ascontiguousarray(cubes[mixed].astype(np.int64)), 0.0
    )
    surface = trimesh.Trimesh(vertices, faces, process=False)
    surface.merge_vertices(digits_vertex=9)
    surface.update_faces(surface.nondegenerate_faces(height=0.0))
    surface.remove_unreferenced_vertices()
    if surface.volume < 0.0:
        surface.invert()
    return surface
