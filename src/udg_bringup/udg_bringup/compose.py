"""The simulated graph in one process, without `ros2 launch`: `python -m udg_bringup.compose`."""

from __future__ import annotations

import argparse

from udg_bringup.ending import asked_to_end
from udg_bringup.graph import DEFAULT_PORT, POLICIES, SimGraphConfig, ViewChoice, sim_graph
from udg_bringup.ros.running import isolate, running
from udg_bringup.ros.trial_client import trial_client
from udg_description.camera import cameras_of
from udg_description.errors import cli
from udg_description.files import optional_path
from udg_description.settings import seed_number
from udg_sim.trials.session import TrialSpec


def add_policy_argument(parser: argparse.ArgumentParser) -> None:
    """Add the choice between a checkpoint and the planner."""
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default=SimGraphConfig().policy,
        help="who acts: a checkpoint, or the planner (lockstep)",
    )


def add_graph_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of SimGraphConfig that every command line of the graph has."""
    default = SimGraphConfig()
    parser.add_argument(
        "--checkpoint",
        type=optional_path,
        default=default.checkpoint,
        help="folder of the policy (default: the shipped)",
    )
    parser.add_argument(
        "--camera-config",
        type=optional_path,
        default=default.camera_config,
        help="cameras.yaml: any number by name (default: two)",
    )
    parser.add_argument("--noise", action=argparse.BooleanOptionalAction, default=default.noise, help="depth noise")
    parser.add_argument(
        "--seed", type=seed_number, default=default.seed, help="seed of placements and noise (default: 0)"
    )
    parser.add_argument(
        "--settings", type=optional_path, default=default.settings, help="ROS parameter file for the nodes"
    )
    parser.add_argument("--processes", action="store_true", help="one process per node instead of one for all")


def add_view_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the view in the browser."""
    parser.add_argument("--view", action="store_true", help="show it in the browser")
    parser.add_argument("--view-port", type=int, default=DEFAULT_PORT, help=f"at 127.0.0.1 (default: {DEFAULT_PORT})")


def view_choice(options: argparse.Namespace, *, allow_commands: bool) -> ViewChoice:
    """The view that the arguments ask for. Raises UdgError if its port is taken."""
    if options.view:
        from udg_bringup.view.server import refuse_taken

        refuse_taken(options.view_port)
    return ViewChoice(show=options.view, port=options.view_port, allow_commands=allow_commands)


def main() -> None:
    """Run the simulated graph in one process until it is interrupted."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_policy_argument(parser)
    add_graph_arguments(parser)
    default = SimGraphConfig()
    parser.add_argument("--object", default=default.object, help="library id or path.obj@0.1")
    parser.add_argument("--lockstep", action=argparse.BooleanOptionalAction, default=False, help="default: real time")
    parser.add_argument("--start", action="store_true", help="let the policy act at once")
    add_view_arguments(parser)
    options = parser.parse_args()
    config = SimGraphConfig(
        policy=options.policy,
        checkpoint=options.checkpoint,
        object=options.object,
        seed=options.seed,
        lockstep=options.lockstep,
        noise=options.noise,
        camera_config=options.camera_config,
        view=view_choice(options, allow_commands=True),
        settings=options.settings,
    )
    if options.view:  # whose buttons must not reach a real robot
        isolate()
    stop = asked_to_end()
    with running(sim_graph(config), processes=options.processes) as graph:
        if options.start:
            cameras = [camera.name for camera in cameras_of(options.camera_config)]
            with trial_client(graph, cameras=cameras) as client:
                client.begin(TrialSpec(object=options.object, seed=options.seed))
        print("the graph runs; Ctrl-C ends it", flush=True)
        while not stop.wait(0.2):
            graph.check()


if __name__ == "__main__":
    main()
