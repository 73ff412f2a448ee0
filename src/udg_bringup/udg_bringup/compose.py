"""The simulated graph in one process, without `ros2 launch`: `python -m udg_bringup.compose`."""

from __future__ import annotations

import argparse
import signal
import threading

from udg_bringup.graph import SimGraphConfig, sim_graph
from udg_bringup.ros.running import ENDS, running
from udg_description.errors import cli


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of SimGraphConfig that every command line of the graph has."""
    default = SimGraphConfig()
    parser.add_argument("--checkpoint", default=default.checkpoint, help="folder of the policy (default: the shipped)")
    parser.add_argument("--noise", action=argparse.BooleanOptionalAction, default=default.noise, help="depth noise")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of placements and noise (default: 0)")
    parser.add_argument("--processes", action="store_true", help="one process per node instead of one for all")


def main() -> None:
    """Run the simulated graph in one process until it is interrupted."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_graph_arguments(parser)
    default = SimGraphConfig()
    parser.add_argument("--object", default=default.object, help="library id or path.obj@0.1")
    parser.add_argument("--lockstep", action=argparse.BooleanOptionalAction, default=False, help="default: real time")
    options = parser.parse_args()
    config = SimGraphConfig(
        checkpoint=options.checkpoint,
        object=options.object,
        seed=options.seed,
        lockstep=options.lockstep,
        noise=options.noise,
    )
    stop = threading.Event()
    for number in ENDS:
        signal.signal(number, lambda *_: stop.set())
    with running(sim_graph(config), processes=options.processes) as graph:
        print("the graph runs; Ctrl-C ends it", flush=True)
        while not stop.wait(0.2):
            graph.check()


if __name__ == "__main__":
    main()
