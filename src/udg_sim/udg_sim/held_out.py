"""Choosing the held-out test set (and the few training objects of other people): run once, written to the manifest."""

import re
from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from udg_description.errors import UdgError
from udg_sim import sources
from udg_sim.categories import category_of, slug
from udg_sim.draw import Draw
from udg_sim.sources import FURNITURE, FURNITURE_LICENCE, LICENCE

FURNITURE_COUNT, MYOSUITE_COUNT, PYBULLET_COUNT = 550, 50, 50
EDGE_M = {"small": (0.045, 0.08), "medium": (0.09, 0.20), "large": (0.24, 0.55)}
"""Longest edge [m] of each size class, from which and up to which it is drawn."""
MIDDLE_M = {"small": 0.07, "medium": 0.12, "large": 0.42}
"""Upper limit of the middle edge [m]."""
THICK_M = {"small": 0.014, "medium": 0.022, "large": 0.07}
"""Lower limit of the shortest edge [m]: fingers need room above the table."""
WHOLE = 0.85
"""Least share of the volume that the largest solid must have."""
FILL = 0.04
"""Least share of its convex hull that an object must fill: less is a bundle of wires and leaves."""
ALIKE = 40
"""Most objects of one category from one source."""
NO_OBJECTS = ("Characters", "Doors and windows", "Staircases")
"""Groups of the furniture catalogues that are people or parts of buildings."""
DENSITY = {"small": (200.0, 1200.0), "medium": (100.0, 900.0), "large": (25.0, 150.0)}
"""Effective density [kg/m^3], from which and up to which it is drawn."""
MASS_KG = (0.005, 0.9)
PIECES = 12
"""Most convex pieces of a pybullet lump."""


class Candidate(NamedTuple):
    """A mesh of a source that may become an object."""

    id: str
    source: str
    path: str
    category: str
    author: str
    licence: str


def furniture() -> list[Candidate]:
    """The things of the furniture catalogues that are no people and no parts of buildings. Raises SourceError."""
    found, used = [], Counter[str]()
    for archive in FURNITURE:
        catalogue = sources.read("sweethome3d", f"{archive}:PluginFurnitureCatalog.properties").decode("latin1")
        pieces: dict[int, dict[str, str]] = defaultdict(dict)
        for key, number, value in re.findall(r"(?m)^(\w+)#(\d+)=(.*)$", catalogue):
            pieces[int(number)][key] = value.strip()
        for number in sorted(pieces):
            piece = pieces[number]
            size = sorted(float(piece[edge]) for edge in ("width", "depth", "height"))
            if piece["category"] in NO_OBJECTS or size[0] < 0.1 * size[2]:
                continue
            name = slug(piece["name"])
            category = category_of(piece["name"], piece["category"] == "Vehicles")
            used[name] += 1
            found.append(
                Candidate(
                    f"sh3d_{name}" + (f"_{used[name]}" if used[name] > 1 else ""), "sweethome3d",
                    f"{archive}:{piece['model'].lstrip('/')}", category,
                    piece["creator"], FURNITURE_LICENCE.get(archive, "CC-BY-3.0"),
                )
            )  # fmt: skip
    return found


def myosuite() -> list[Candidate]:
    """The objects of MyoSuite. Raises SourceError."""
    found = []
    for path in sorted(sources.names("myosuite", "myosuite")):
        match = re.fullmatch(r"myosuite/simhive/object_sim/(\w+)/\1\.stl", path)
        if match and match[1] not in ("human", "hand"):
            found.append(
                Candidate(f"myo_{match[1]}", "myosuite", f"myosuite:{path}", category_of(match[1]), "Vikash Kumar",
                          LICENCE["myosuite"])
            )  # fmt: skip
    return found


def pybullet() -> list[Candidate]:
    """The lumps of blocks of pybullet_data. Raises SourceError."""
    return [
        Candidate(f"lump_{i:03d}", "pybullet", f"pybullet:pybullet_data/random_urdfs/{i:03d}/{i:03d}.obj", "lump",
                  "Erwin Coumans", LICENCE["pybullet"])
        for i in range(0, 1000, 7)
    ]  # fmt: skip


class Chosen(NamedTuple):
    """A candidate with the size class, longest edge [m] and density [kg/m^3] that were chosen for it."""

    candidate: Candidate
    size_class: str
    longest_edge_m: float
    density: float


def choose(candidates: list[Candidate], count: int, shown: dict[str, str]) -> list[Chosen]:
    """At most `count` graspable objects with balanced sizes; why others were left out goes to `shown` by id."""
    left: dict[str, dict[str, tuple[float, float]]] = {}
    by_id = {candidate.id: candidate for candidate in candidates}
    alike = Counter[str]()
    for candidate in sorted(candidates, key=lambda c: Draw(c.id).unit("order")):
        try:
            done = sources.load_repaired(candidate.source, candidate.path)
        except (UdgError, ValueError, IndexError) as error:
            shown[candidate.id] = str(error)
            continue
        mesh = done.mesh
        edges = np.sort(mesh.extents)
        ranges = fitting(edges)
        if done.share < WHOLE:
            shown[candidate.id] = f"falls into pieces: the largest has {100 * done.share:.0f} %"
        elif mesh.volume < FILL * mesh.convex_hull.volume:
            shown[candidate.id] = "wires or leaves: too little volume"
        elif not ranges:
            shown[candidate.id] = f"too flat or too large: {edges.round(3)}"
        elif alike[candidate.category] == ALIKE:
            shown[candidate.id] = f"already {ALIKE} of category {candidate.category}"
        else:
            alike[candidate.category] += 1
            left[candidate.id] = ranges
    taken: list[Chosen] = []
    counts = Counter[str]()
    for id in sorted(left, key=lambda i: (len(left[i]), Draw(i).unit("order"))):  # those with the least choice first
        size = min(left[id], key=lambda name: counts[name])
        counts[size] += 1
        draw = Draw(id)
        taken.append(
            Chosen(by_id[id], size, round(draw.log_uniform("edge", *left[id][size]), 4),
                   draw.log_uniform("density", *DENSITY[size]))
        )  # fmt: skip
    while len(taken) > count:  # drop from the fullest size
        fullest = Counter(c.size_class for c in taken).most_common(1)[0][0]
        last = max((c for c in taken if c.size_class == fullest), key=lambda c: Draw(c.candidate.id).unit("order"))
        shown[last.candidate.id] = "not needed"
        taken.remove(last)
    return sorted(taken, key=lambda c: Draw(c.candidate.id).unit("order"))


def fitting(edges: np.ndarray) -> dict[str, tuple[float, float]]:
    """Range of the longest edge [m] in each size class that suits a shape with the sorted `edges` (3,)."""
    found = {}
    for size, (lower, upper) in EDGE_M.items():
        low = max(lower, THICK_M[size] * edges[2] / edges[0])
        high = min(upper, MIDDLE_M[size] * edges[2] / edges[1])
        if low <= high:
            found[size] = (low, high)
    return found
