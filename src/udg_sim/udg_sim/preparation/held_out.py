"""Selecting the held-out test set (and a few third-party training objects): run once, written to the manifest.

`udg held-out --out objects.csv` needs all sources and some minutes; the result is committed.
"""

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from udg_description.errors import UdgError
from udg_description.files import check_file, user_path
from udg_sim import families
from udg_sim.families import compositions
from udg_sim.families.draw import Draw
from udg_sim.families.sizes import DENSITY, MASS_KG, fitting
from udg_sim.objects import sources
from udg_sim.objects.catalogue import builtin_specs
from udg_sim.objects.categories import category_of, slug
from udg_sim.objects.library import OWN, centred, geometry_key
from udg_sim.objects.manifest import Record, manifest, write
from udg_sim.objects.sources import FURNITURE, FURNITURE_LICENCE, LICENCE

TEST_COUNT, MYOSUITE_COUNT, PYBULLET_COUNT = 600, 50, 50
WHOLE = 0.85
"""Least share of the volume that the largest solid must have."""
FILL = 0.04
"""Least share of its convex hull that an object must fill: less is a bundle of wires and leaves."""
SLENDER = 0.15
"""Objects that fill less of their hull are not made small: their bars would be thinner than a millimetre."""
ALIKE = 50
"""Most objects of one category from one source."""
NO_OBJECTS = ("Characters", "Doors and windows", "Staircases")
"""Groups of the furniture catalogues that are people or parts of buildings."""


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
                    f"sh3d_{name}" + (f"_{used[name]}" if used[name] > 1 else ""),
                    "sweethome3d",
                    f"{archive}:{piece['model'].lstrip('/')}",
                    category,
                    piece["creator"],
                    FURNITURE_LICENCE.get(archive, "CC-BY-3.0"),
                )
            )
    return found


def myosuite() -> list[Candidate]:
    """The objects of MyoSuite. Raises SourceError."""
    found = []
    for path in sorted(sources.names("myosuite", "myosuite")):
        match = re.fullmatch(r"myosuite/simhive/object_sim/(\w+)/\1\.stl", path)
        if match and match[1] not in ("human", "hand"):
            found.append(
                Candidate(
                    f"myo_{match[1]}",
                    "myosuite",
                    f"myosuite:{path}",
                    category_of(match[1]),
                    "Vikash Kumar",
                    LICENCE["myosuite"],
                )
            )
    return found


def pybullet() -> list[Candidate]:
    """The lumps of blocks of pybullet_data. Raises SourceError."""
    return [
        Candidate(
            f"lump_{i:03d}",
            "pybullet",
            f"pybullet:pybullet_data/random_urdfs/{i:03d}/{i:03d}.obj",
            "lump",
            "Erwin Coumans",
            LICENCE["pybullet"],
        )
        for i in range(0, 1000, 16)
    ]


class Chosen(NamedTuple):
    """A candidate with the size class, longest edge [m] and density [kg/m^3] that were chosen for it."""

    candidate: Candidate
    size_class: str
    longest_edge_m: float
    density: float


def choose(candidates: list[Candidate], count: int, shown: dict[str, str]) -> list[Chosen]:
    """At most `count` graspable objects with balanced sizes; why others were rejected goes to `shown` by id."""
    pending: dict[str, dict[str, tuple[float, float]]] = {}
    fill: dict[str, float] = {}
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
        share_of_hull = float(mesh.volume / mesh.convex_hull.volume)
        if share_of_hull < SLENDER:
            ranges.pop("small", None)
        if done.share < WHOLE:
            shown[candidate.id] = f"falls into pieces: the largest has {100 * done.share:.0f} %"
        elif share_of_hull < FILL:
            shown[candidate.id] = "wires or leaves: too little volume"
        elif not ranges:
            shown[candidate.id] = f"too flat or too large: {edges.round(3)}"
        elif alike[candidate.category] == ALIKE:
            shown[candidate.id] = f"already {ALIKE} of category {candidate.category}"
        else:
            alike[candidate.category] += 1
            pending[candidate.id] = ranges
            fill[candidate.id] = share_of_hull
    taken: list[Chosen] = []
    counts = Counter[str]()
    for id in sorted(
        pending, key=lambda i: (len(pending[i]), Draw(i).unit("order"))
    ):  # those with the least choice first
        size = min(pending[id], key=lambda name: counts[name])
        counts[size] += 1
        draw = Draw(id)
        taken.append(
            Chosen(
                by_id[id],
                size,
                round(draw.log_uniform("edge", *pending[id][size]), 4),
                draw.log_uniform("density", *DENSITY[size]),
            )
        )
    while len(taken) > count:  # drop the most wiry one of the fullest size
        fullest = Counter(c.size_class for c in taken).most_common(1)[0][0]
        last = min((c for c in taken if c.size_class == fullest), key=lambda c: fill[c.candidate.id])
        shown[last.candidate.id] = "not needed"
        taken.remove(last)
    return sorted(taken, key=lambda c: Draw(c.candidate.id).unit("order"))


def quick_ids(chosen: Sequence[Chosen], seen: set[str], per_cell: int = 8) -> set[str]:
    """Ids of `per_cell` objects of each size and of seen and unseen categories each, no category twice."""
    cells, used, ids = Counter[tuple[str, bool]](), set(), set()
    for one in chosen:
        cell = (one.size_class, one.candidate.category in seen)
        if cells[cell] < per_cell and (one.candidate.category, one.size_class) not in used:
            cells[cell] += 1
            used.add((one.candidate.category, one.size_class))
            ids.add(one.candidate.id)
    return ids


def training_categories() -> set[str]:
    """Categories of the training objects."""
    builtin = {spec.category for spec in builtin_specs().values() if spec.split == "train"}
    return builtin | {*families.FAMILIES, compositions.NAME, "lump"}


def own_records(seen: set[str]) -> Iterator[Record]:
    """The objects of this package."""
    for spec in builtin_specs().values():
        mesh = centred(spec.build().mesh)
        yield Record(
            id=spec.id,
            source="builtin",
            category=spec.category,
            seen=spec.category in seen,
            split=spec.split,
            size_class=spec.size_class,
            quick=False,
            longest_edge_m=float(mesh.extents.max()),
            volume_m3=float(mesh.volume),
            mass_kg=spec.density * float(mesh.volume),
            licence="Apache-2.0",
            author="udg",
            path="",
            key=geometry_key(mesh),
        )
    for number, one in enumerate(families.members()):
        built = families.build(one)
        mesh = centred(built.shape.mesh)
        yield Record(
            id=one.id,
            source="generated",
            category=one.family.name,
            seen=True,
            split="train",
            size_class=one.size_class,
            quick=number < len(families.FAMILIES),
            longest_edge_m=float(mesh.extents.max()),
            volume_m3=float(mesh.volume),
            mass_kg=built.mass_kg,
            licence="Apache-2.0",
            author="udg",
            path="",
            key=geometry_key(mesh),
        )
    for other in compositions.compositions():
        composed = compositions.build(other)
        mesh = centred(composed.shape.mesh)
        yield Record(
            id=other.id,
            source=compositions.NAME,
            category=compositions.NAME,
            seen=True,
            split="train",
            size_class=other.size_class,
            quick=False,
            longest_edge_m=float(mesh.extents.max()),
            volume_m3=float(mesh.volume),
            mass_kg=composed.mass_kg,
            licence="Apache-2.0",
            author="udg",
            path="",
            key=geometry_key(mesh),
        )


def foreign_records(chosen: Sequence[Chosen], split: str, seen: set[str], quick: set[str]) -> Iterator[Record]:
    """The chosen third-party objects, in their final size."""
    for one in chosen:
        c = one.candidate
        mesh = sources.load_repaired(c.source, c.path).mesh
        mesh.apply_scale(one.longest_edge_m / mesh.extents.max())
        mesh = centred(mesh)
        yield Record(
            id=c.id,
            source=c.source,
            category=c.category,
            seen=c.category in seen,
            split=split,
            size_class=one.size_class,
            quick=c.id in quick,
            longest_edge_m=one.longest_edge_m,
            volume_m3=float(mesh.volume),
            mass_kg=float(np.clip(one.density * mesh.volume, *MASS_KG)),
            licence=c.licence,
            author=c.author,
            path=c.path,
            key=geometry_key(mesh),
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Select the third-party objects and write the manifest of all objects."""
    parser = argparse.ArgumentParser(prog="udg held-out", description=main.__doc__)
    parser.add_argument("--out", type=user_path, required=True, help="manifest to write (CSV)")
    parser.add_argument("--own", action="store_true", help="regenerate only our own objects: needs no source")
    parser.add_argument("--force", action="store_true", help="replace an earlier manifest")
    args = parser.parse_args(argv)
    check_file(args.out, args.force or args.own)
    if args.own:
        kept = [record for record in manifest().values() if record.source not in OWN]
        write(args.out, [*own_records(training_categories()), *kept])
        return
    left_out: dict[str, str] = {}
    lumps = choose(pybullet(), PYBULLET_COUNT, left_out)
    small_source = choose(myosuite(), MYOSUITE_COUNT, left_out)
    test = [*small_source, *choose(furniture(), TEST_COUNT - len(small_source), left_out)]
    test.sort(key=lambda one: Draw(one.candidate.id).unit("order"))
    seen = training_categories()
    rows = [*own_records(seen), *foreign_records(lumps, "train", seen, set())]
    rows += foreign_records(test, "test", seen, quick_ids(test, seen))
    write(args.out, rows)
    for id, why in sorted(left_out.items()):
        print(f"skipped: {id}: {why}")
    print(Counter((row.source, row.size_class) for row in rows))


if __name__ == "__main__":
    from udg_description.errors import cli

    cli(main)
