"""Hand descriptions broken in ways that people's files are.

`python src/udg_datagen/test/hands/hostile_urdfs.py 300` makes that many and counts what becomes of them.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import trimesh

_FIXED = '<joint name="extra" type="fixed">'
QUAD = Path(__file__).parents[3] / "udg_description" / "udg_description" / "data" / "hands" / "quad_hand.urdf"


def _replaced(text: str, pattern: str, new: str, rng: Random) -> str:
    """One of the places that fit the pattern replaced."""
    places = list(re.finditer(pattern, text))
    place = places[rng.randrange(len(places))]
    return text[: place.start()] + place.expand(new) + text[place.end() :]


def _swap(pattern: str, new: str) -> Callable[[str, Random], str]:
    return lambda text, rng: _replaced(text, pattern, new, rng)


def _with_mesh(filename: str, scale: str = "") -> Callable[[str, Random], str]:
    """The shapes of the thumb's last link replaced by one mesh."""
    mesh = f'<collision><geometry><mesh filename="{filename}"{f" scale={chr(34)}{scale}{chr(34)}" if scale else ""}/>'

    def change(text: str, rng: Random) -> str:
        start = text.index('<link name="thumb_distal">')
        end = text.index("</link>", start)
        kept = re.sub(r"<collision>.*?</collision>\s*", "", text[start:end])
        return f"{text[:start]}{kept}{mesh}</geometry></collision>\n{text[end:]}"

    return change


def meshes_beside(folder: Path) -> None:
    """Write the meshes that WAYS name."""
    tip = trimesh.creation.capsule(radius=0.0105, height=0.026, count=(12, 12))
    tip.export(folder / "tip.stl")
    millimetres = tip.copy()
    millimetres.apply_scale(1000.0)
    millimetres.export(folder / "tip_mm.stl")
    both = trimesh.util.concatenate([tip, trimesh.creation.box((0.01, 0.01, 0.03)).apply_translation((0, 0, 0.06))])
    both.export(folder / "two.stl")
    turned = tip.copy()
    turned.invert()
    turned.export(folder / "inverted.stl")
    (folder / "garbage.obj").write_text("v 0 0 0\nf 1 2 900\n")
    (folder / "empty.stl").write_bytes(b"")
    flat = trimesh.Trimesh(np.array([[0, 0, 0], [0.02, 0, 0], [0, 0.02, 0]]), np.array([[0, 1, 2]]), process=False)
    flat.export(folder / "flat.stl")


REFUSED: dict[str, Callable[[str, Random], str]] = {
    "cut off": lambda text, rng: text[: rng.randrange(20, len(text) - 20)],
    "empty": lambda text, rng: "",
    "not a robot": lambda text, rng: text.replace("<robot", "<sdf").replace("</robot", "</sdf"),
    "unknown encoding": lambda text, rng: text.replace('version="1.0"', 'version="1.0" encoding="martian"'),
    "xacro": lambda text, rng: text.replace("0.036", "${a}"),
    "entities": lambda text, rng: text.replace("<robot", '<!DOCTYPE r [<!ENTITY a "b">]><robot', 1),
    "link without name": _swap(r'<link name="\w+"', "<link"),
    "joint without name": _swap(r'<joint name="\w+"', "<joint"),
    "twice the same link": _swap(r'(<link name="index_middle">)', '<link name="mid_middle"/>\\1'),
    "twice the same joint": _swap(r'<joint name="index_\w+"', '<joint name="mid_middle_joint"'),
    "missing child": _swap(r'<child link="\w+"', '<child link="nowhere"'),
    "missing parent": _swap(r'<parent link="(thumb|index|mid|ring)_\w+"', '<parent link="nowhere"'),
    "no parent": _swap(r"<parent[^/]*/>", ""),
    "own parent": _swap(r'<parent link="\w+"/><child link="(\w+)"', '<parent link="\\1"/><child link="\\1"'),
    "loop": _swap(r"</robot>", f'{_FIXED}<parent link="thumb_distal"/><child link="palm"/></joint></robot>'),
    "two parents": _swap(r"</robot>", f'{_FIXED}<parent link="palm"/><child link="mid_middle"/></joint></robot>'),
    "axis zero": _swap(r'<axis xyz="[^"]*"', '<axis xyz="0 0 0"'),
    "axis of two": _swap(r'<axis xyz="[^"]*"', '<axis xyz="0 1"'),
    "axis nan": _swap(r'<axis xyz="[^"]*"', '<axis xyz="nan 0 1"'),
    "origin with commas": _swap(r'<origin xyz="[^"]*"', '<origin xyz="0,1,2"'),
    "origin of two": _swap(r'<origin xyz="[^"]*"', '<origin xyz="0 1"'),
    "origin in mm": _swap(r'<origin xyz="[^"]*"', '<origin xyz="0 46 30"'),
    "origin infinite": _swap(r'<origin xyz="[^"]*"', '<origin xyz="inf 0 0"'),
    "kind unknown": _swap(r'type="revolute"', 'type="hinge"'),
    "continuous": _swap(r'type="revolute"', 'type="continuous"'),
    "no limits": _swap(r"<limit [^/]*/>", ""),
    "limits swapped": _swap(r'lower="[^"]*" upper="[^"]*"', 'lower="1" upper="-1"'),
    "limit no number": _swap(r'effort="[^"]*"', 'effort="strong"'),
    "effort zero": _swap(r'effort="[^"]*"', 'effort="0"'),
    "mass zero": _swap(r'<mass value="[^"]*"', '<mass value="0"'),
    "mass negative": _swap(r'<mass value="[^"]*"', '<mass value="-0.03"'),
    "mass in grams": _swap(r'<mass value="[^"]*"', '<mass value="70"'),
    "mass nan": _swap(r'<mass value="[^"]*"', '<mass value="nan"'),
    "inertia negative": _swap(r'ixx="[^"]*"', 'ixx="-1e-3"'),
    "no inertia": _swap(r"<inertia [^/]*/>", ""),
    "box of two": _swap(r'<box size="[^"]*"', '<box size="0.1 0.1"'),
    "sphere zero": _swap(r'<sphere radius="[^"]*"', '<sphere radius="0"'),
    "sphere in mm": _swap(r'<sphere radius="[^"]*"', '<sphere radius="12"'),
    "cylinder negative": _swap(r'length="[^"]*"', 'length="-0.02"'),
    "cylinder no length": _swap(r' length="[^"]*"', ""),
    "geometry empty": _swap(r"<geometry>.*?</geometry>", "<geometry/>"),
    "ellipsoid": _swap(r"<geometry>.*?</geometry>", '<geometry><ellipsoid radii="0.01 0.01 0.02"/></geometry>'),
    "mesh in mm": _with_mesh("tip_mm.stl"),
    "mesh missing": _with_mesh("nowhere.stl"),
    "mesh without name": _with_mesh(""),
    "mesh garbage": _with_mesh("garbage.obj"),
    "mesh empty": _with_mesh("empty.stl"),
    "mesh flat": _with_mesh("flat.stl"),
    "mesh kind": _with_mesh("tip.dae"),
    "scale one number": _with_mesh("tip_mm.stl", "0.001"),
    "scale commas": _with_mesh("tip_mm.stl", "0.001,0.001,0.001"),
    "scale zero": _with_mesh("tip_mm.stl", "0 0 0"),
    "tips without shapes": lambda text, rng: re.sub(r"<collision>.*?</collision>\s*", "", text),
}
"""Ways to break a hand's URDF that must be refused."""
TAKEN: dict[str, Callable[[str, Random], str]] = {
    "mesh in mm, scaled": _with_mesh("tip_mm.stl", "0.001 0.001 0.001"),
    "mesh mirrored": _with_mesh("package://any/tip.stl", "-1 1 1"),
    "mesh inside out": _with_mesh("inverted.stl"),
    "mesh of two bodies": _with_mesh("two.stl"),
    "capsule": _swap(r"<cylinder (radius=\"[^\"]*\" length=\"[^\"]*\")/>", "<capsule \\1/>"),
    "no inertial": _swap(r"<inertial>.*?</inertial>", ""),
    "comments": lambda text, rng: text.replace("<link", "<!-- a link --><link"),
    "byte order mark": lambda text, rng: "\ufeff" + text,
}
"""Odd ones that must load."""


def broken(ways: Sequence[str], rng: Random) -> str:
    """The hand of this repository, broken in several ways one after the other."""
    text = QUAD.read_text()
    for way in ways:
        with suppress(ValueError):  # an earlier way has taken away what this one changes
            text = {**REFUSED, **TAKEN}[way](text, rng)
    return text


def count(number: int, seed: int = 0) -> Counter[str]:
    """What becomes of so many broken descriptions: refused by the file's name, or taken; prints what is neither."""
    from udg_datagen.hands import guess
    from udg_datagen.hands.hand import describe
    from udg_description.errors import UdgError

    guess._DRAWS = 20
    rng, outcomes, longest_s = Random(seed), Counter[str](), 0.0
    tips = {"thumb": "thumb_distal", "index": "index_distal"}
    with TemporaryDirectory() as folder:
        urdf, out = Path(folder, "their_hand.urdf"), Path(folder, "out", "hand.yaml")
        meshes_beside(urdf.parent)
        for made in range(number):
            ways = rng.sample(sorted({**REFUSED, **TAKEN}), rng.randint(1, 3))
            urdf.write_text(broken(ways, rng), encoding="utf-8")
            start = time.process_time()
            try:
                describe(urdf, out, root="palm", palm_normal=np.array([0.0, 0.0, 1.0]), tips=tips)
                outcome = "taken"
            except UdgError as error:
                well = urdf.name in str(error) and not out.parent.exists()
                outcome = "refused" if well else f"refused badly: {error}"
            except Exception as error:
                outcome = f"traceback: {error!r}"
            longest_s = max(longest_s, time.process_time() - start)
            shutil.rmtree(out.parent, ignore_errors=True)
            outcomes[outcome] += 1
            if outcome not in ("refused", "taken"):
                print(f"{ways}: {outcome}", flush=True)
            if made % 50 == 49:
                print(f"{made + 1}: {dict(outcomes)}, longest {longest_s:.1f} s of processor time", flush=True)
    return outcomes


if __name__ == "__main__":
    print(dict(count(int(sys.argv[1]) if len(sys.argv) > 1 else 300)))
