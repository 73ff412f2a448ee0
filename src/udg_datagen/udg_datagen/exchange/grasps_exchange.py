"""Grasp files of other projects, both ways: `udg grasps-exchange export|import`.

... export out/grasps/mug_tripod_right.npz --format isaac_grasp --out out/exchange
... import grasps.yaml --object mug_003 --sides right --out mug_imported.npz
... import bodex/*.npy --object scan.obj@0.12 --origin file --hand leap.yaml --out scan.npz
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from udg_datagen.exchange.check import LEAST_CONTACTS, TOLERANCE_M, checked_set, mesh_frame
from udg_datagen.exchange.dexgraspbench import qpos_dictionary, read_dexgraspbench
from udg_datagen.exchange.isaac_grasp import isaac_yaml, read_isaac
from udg_datagen.exchange.plain_grasps import ExchangeError, PlainGrasps
from udg_datagen.grasp_set import GraspSet
from udg_datagen.hands import load_hand
from udg_datagen.hands.model import HandModel
from udg_datagen.hands.robot_hand import robot_hand
from udg_description.errors import UdgError, cli
from udg_description.files import atomic_path, check_file, user_path, whole_folder, write_atomically
from udg_sim.objects.library import ObjectLibrary

FORMATS = ("isaac_grasp", "dexgraspbench")
SIDES = {"left": ("left",), "right": ("right",), "both": ("left", "right")}


def main() -> None:
    """Write grasps for other projects, or read theirs."""
    cli(_main)


def _main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.task == "export":
        _export(options)
    else:
        _import(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=main.__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    export = tasks.add_parser("export", help="export one of our grasp files to another format")
    export.add_argument("file", type=user_path, help="grasp file (.npz)")
    export.add_argument("--format", choices=FORMATS, required=True)
    export.add_argument("--out", type=user_path, required=True, help="folder to create; includes the mesh")
    read = tasks.add_parser("import", help="import files of another format, with a check")
    read.add_argument("files", type=user_path, nargs="+", help="one .yaml a hand (left before right), or .npy files")
    read.add_argument("--object", required=True, help="library id or path.obj@0.1")
    read.add_argument(
        "--origin",
        choices=("center", "file"),
        default="center",
        help="the files' object frame: the centre of mass, or the mesh file's own origin",
    )
    read.add_argument("--sides", choices=tuple(SIDES), default="right", help="hands of the files (default: right)")
    read.add_argument("--hand", type=user_path, help="description of a hand (docs/any_hand.md); default: the XHand")
    read.add_argument("--tolerance", type=float, default=TOLERANCE_M, help="of a contact, pad to surface [m]")
    read.add_argument("--out", type=user_path, required=True, help="grasp file to write (.npz)")
    read.add_argument("--force", action="store_true", help="replace it if it exists")
    return parser


def _export(options: argparse.Namespace) -> None:
    grasps = GraspSet.load(options.file)
    if len(grasps) == 0:
        raise ExchangeError(f"{options.file}: has no grasps. {grasps.reason}".rstrip())
    plain = PlainGrasps.of(grasps)
    with whole_folder(options.out) as folder:
        if options.format == "isaac_grasp":
            for h, side in enumerate(grasps.sides):
                text = isaac_yaml(plain, h, _root(grasps, h))
                write_atomically(folder / f"{side}.yaml", text)
        else:
            for n in range(len(plain)):
                np.save(folder / f"{n:05d}.npy", np.array(qpos_dictionary(plain, n, grasps.T_table_object)))
        try:
            ObjectLibrary().get(grasps.object_id).mesh.export(folder / "object.obj")
        except UdgError as error:
            print(f"without the mesh: {error}")
    print(json.dumps({"grasps": len(plain), "out": str(options.out)}))


def _root(grasps: GraspSet, hand: int) -> str:
    """Name of the link whose pose is given; of another hand than the XHand it is not in the file."""
    name = grasps.joint_names[hand][0]
    return f"{grasps.sides[hand]}_hand_link" if name.startswith(f"{grasps.sides[hand]}_hand_") else "hand"


def _import(options: argparse.Namespace) -> None:
    sides = SIDES[options.sides]
    hands = _hands(options.hand, options.sides)
    names = tuple(hand.spec.joint_names for hand in hands)
    out = check_file(options.out, options.force)
    kinds = {path.suffix for path in options.files}
    if kinds <= {".yaml", ".yml"}:
        plain = read_isaac(options.files, sides, names)  # type: ignore[arg-type]
    elif kinds == {".npy"}:
        plain = read_dexgraspbench(options.files, sides, names)  # type: ignore[arg-type]
    else:
        raise ExchangeError(f"files {', '.join(sorted(kinds))}; valid: .yaml (isaac_grasp) or .npy (qpos)")
    model = ObjectLibrary().get(options.object)
    frame = mesh_frame(model) if options.origin == "file" else None
    checked = checked_set(plain, model, hands, tolerance_m=options.tolerance, T_model_mesh=frame)
    with atomic_path(out) as path:
        checked.grasps.save(path)
    kept, lost = len(checked.grasps), checked.given - len(checked.grasps)
    if lost:
        print(
            f"{lost} of {checked.given} grasps have fewer than {LEAST_CONTACTS} pads within "
            f"{1e3 * options.tolerance:.1f} mm of the surface and are skipped"
        )
    print(
        json.dumps(
            {
                "grasps": kept,
                "left_out": lost,
                "second_pad_mm": {
                    "median": round(1e3 * float(np.median(checked.second_distance_m)), 3),
                    "max": round(1e3 * float(checked.second_distance_m.max()), 3),
                },
                "penetration_mm_median": round(1e3 * float(np.median(checked.grasps.penetration)), 3),
                "out": str(out),
            }
        )
    )


def _hands(description: Path | None, sides: str) -> list[HandModel]:
    if description is None:
        return [robot_hand(side) for side in SIDES[sides]]  # type: ignore[arg-type]
    hand = load_hand(description)
    if SIDES[sides] != (hand.spec.side,):
        raise ExchangeError(f"{description} describes a {hand.spec.side} hand; valid: --sides {hand.spec.side}")
    return [hand]


if __name__ == "__main__":
    main()
