"""Writes the first description of a hand from its URDF: name the fingertips and the palm, the rest is read or fitted.

    udg hand --urdf hand.urdf --root palm --palm-normal 0,0,1 \
        --tips thumb=thumb_tip,index=index_tip,mid=mid_tip --out my_hand/hand.yaml
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from udg_datagen.hands.description import load_hand
from udg_datagen.hands.guess import guess
from udg_datagen.hands.primitives_urdf import write_primitive_urdf
from udg_description.errors import HandModelError, UdgError, cli
from udg_description.files import check_file, check_folder, user_path, write_atomically
from udg_description.robot.hand_tree import HandTree, hand_tree, without_collision


class Described(NamedTuple):
    """The description file and what its user has to know."""

    path: Path
    notes: tuple[str, ...]


def describe(
    urdf: Path, out: Path, *, root: str, palm_normal: np.ndarray, tips: Mapping[str, str], side: str = "right"
) -> Described:
    """Write a description to `out` and, beside it, a URDF without meshes: both, or where it is refused nothing.

    Args:
        root: link that an arm carries: the frame of everything in the file.
        palm_normal: direction (3,) out of the palm in the root's frame.
        tips: last link of each finger by contact name, the thumb (what stands opposite the others) first.

    Raises:
        HandModelError: what is missing or contradicts itself, by name.
        RobotModelError: `urdf` is no URDF.
    """
    norm = float(np.linalg.norm(palm_normal))
    if norm < 1e-9:
        raise HandModelError(f"palm normal {palm_normal} has no direction")
    palm_normal = np.asarray(palm_normal, dtype=float) / norm
    copy = out.with_name(f"{out.stem}.urdf")
    if copy.resolve() == urdf.resolve():
        raise HandModelError(f"{out}: its URDF would overwrite {urdf}; choose another folder or name")
    for link in tips.values():
        hand_tree(urdf, root).link_of(link)  # what is wrong is said of the user's own file
    check_folder(out.parent)
    with tempfile.TemporaryDirectory(prefix="udg-hand-") as folder:
        work = Path(folder, out.name)
        try:
            notes = _describe(urdf, work, copy.name, root, palm_normal, tips, side)
            load_hand(work)  # it must load
        except UdgError as error:
            text = str(error).replace(str(Path(folder, copy.name)), str(urdf)).replace(str(work), str(urdf))
            raise HandModelError(text if str(urdf) in text else f"{urdf}: {text}") from None
        out.parent.mkdir(parents=True, exist_ok=True)
        for path in (copy, out):
            write_atomically(path, Path(folder, path.name).read_bytes())
    return Described(out, tuple(notes))


def _describe(
    urdf: Path, out: Path, copy: str, root: str, palm_normal: np.ndarray, tips: Mapping[str, str], side: str
) -> list[str]:
    """Write description and copy of the URDF into a folder of their own; notes of what a user has to know."""
    notes = write_primitive_urdf(urdf, out.with_name(copy))
    tree = hand_tree(out.with_name(copy), root)
    bare = [name for name in without_collision(hand_tree(urdf, root)) if not _has_shapes(tree, name)]
    if bare:
        notes.append(f"no collision geometry, so nothing touches them: {', '.join(bare)}")
    first = guess(tree, tips, palm_normal)
    contacts = {
        name: {
            "link": tree.links[tree.link_of(link)[0]],
            "center": _plain(first.pad_center[name]),
            "radius": round(first.pad_radius[name], 4),
            "axis": _plain(first.pad_axis[name]),
        }
        for name, link in tips.items()
    }
    data = {
        "name": out.stem,
        "side": side,
        "urdf": copy,
        "root_link": root,
        "palm_normal": _plain(palm_normal, 6),
        "grasp_center": _plain(first.grasp_center),
        "preshape": {joint.name: round(float(v), 3) for joint, v in zip(tree.joints, first.preshape, strict=True)},
        "contacts": contacts,
    }
    lines = [
        "Lengths in m, angles in rad; see docs/any_hand.md. Written from the URDF: look at preshape and axis.",
        *(f"Note: {note}" for note in notes),
    ]
    text = "".join(f"# {line}\n" for line in lines)
    write_atomically(out, text + yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110))
    return notes


def _has_shapes(tree: HandTree, name: str) -> bool:
    return bool(tree.urdf.links[name].primitives)


def _plain(values: np.ndarray, digits: int = 4) -> list[float]:
    return [float(round(v, digits)) + 0.0 for v in values]


def _tips(text: str) -> dict[str, str]:
    pairs = [item.split("=") for item in text.split(",")]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise argparse.ArgumentTypeError(f"'{text}': contact=link,contact=link,... is needed")
    return {name: link for name, link in pairs}


def _direction(text: str) -> np.ndarray:
    try:
        values = np.array([float(word) for word in text.split(",")])
    except ValueError:
        values = np.zeros(0)
    if values.shape != (3,):
        raise argparse.ArgumentTypeError(f"'{text}': three numbers x,y,z are needed")
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--urdf", type=user_path, required=True)
    parser.add_argument("--out", type=user_path, required=True, help="description file to write (.yaml)")
    parser.add_argument("--root", required=True, help="link of the palm")
    parser.add_argument("--palm-normal", type=_direction, required=True, help="x,y,z out of the palm")
    parser.add_argument("--tips", type=_tips, required=True, help="thumb=link,index=link,...; the thumb first")
    parser.add_argument("--side", choices=("left", "right"), default="right")
    parser.add_argument("--force", action="store_true", help="replace an earlier description")
    options = parser.parse_args(arguments)
    for path in (options.out, options.out.with_name(f"{options.out.stem}.urdf")):
        check_file(path, options.force)
    path, notes = describe(
        options.urdf,
        options.out,
        root=options.root,
        palm_normal=options.palm_normal,
        tips=options.tips,
        side=options.side,
    )
    spec = load_hand(path).spec
    print(
        f"{path}: {len(spec.joint_names)} joints, {len(spec.sphere_radius)} spheres, "
        f"contacts {', '.join(spec.contact_names)}"
    )
    for note in notes:
        print(f"note: {note}")
    return 0


if __name__ == "__main__":
    cli(main)
