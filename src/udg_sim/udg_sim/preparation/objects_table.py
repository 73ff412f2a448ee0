"""`udg objects-table`: the objects as a table, and as a picture."""

import argparse
from collections.abc import Sequence

from udg_description.errors import cli
from udg_description.files import check_file, user_path
from udg_sim.cameras.video import object_sheet, write_png
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.objects.selection import select


def table(objects: Sequence[ObjectModel]) -> str:
    """The objects as a text table."""
    head = f"{'id':16s} {'category':14s} {'split':6s} {'size':7s} {'extents [mm]':>16s} {'kg':>6s} {'parts':>5s} poses"
    rows = [
        f"{o.id:16s} {o.category:14s} {o.split:6s} {o.size_class:7s} "
        f"{'x'.join(f'{1000 * e:.0f}' for e in o.mesh.extents):>16s} {o.mass_kg:6.3f} {len(o.convex_parts):5d} "
        + " ".join(f"{p:.2f}" for p in o.stable_probabilities)
        for o in objects
    ]
    return "\n".join([head, *rows])


def main(argv: Sequence[str] | None = None) -> None:
    """List the library (or the given objects); --picture writes a contact sheet."""
    parser = argparse.ArgumentParser(prog="udg objects-table", description=main.__doc__)
    parser.add_argument("objects", nargs="*", help="ids, mesh specs, sets; default: our own objects")
    parser.add_argument("--split", help="train or test")
    parser.add_argument("--size", help="small, medium or large")
    parser.add_argument("--picture", type=user_path, help="PNG with all objects")
    args = parser.parse_args(argv)
    if args.picture is not None:
        check_file(args.picture, force=True)
    library = ObjectLibrary()
    ids = select(",".join(args.objects), library) if args.objects else library.ids(args.split, args.size)
    objects = [library.get(id) for id in ids]
    print(table(objects))
    if args.picture is not None:
        write_png(args.picture, object_sheet(objects))


if __name__ == "__main__":
    cli(main)
