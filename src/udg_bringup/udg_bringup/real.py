"""The real robot's graph without `ros2 launch`, one process per node: `udg robot --use-emulators`."""

from __future__ import annotations

import argparse
import os
from typing import get_args

from udg_bringup.compose import add_view_arguments, view_choice
from udg_bringup.config_folder import default_config
from udg_bringup.ending import asked_to_end
from udg_bringup.graph import process_environment
from udg_bringup.real_graph import CAMERA_TOPICS, Cameras, RealGraphConfig, real_graph
from udg_bringup.ros.running import running
from udg_control.hardware import Arms
from udg_description.errors import cli
from udg_description.files import optional_path, user_path


def main() -> None:
    """Run the graph of the real robot, or of its emulation, until it is interrupted. It comes up disabled."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=user_path, default=default_config(), help="folder of robot.yaml, ...")
    parser.add_argument("--settings", type=user_path, help="a further ROS parameter file, on top of those of --config")
    parser.add_argument("--use-emulators", action="store_true", help="emulated devices instead of the hardware")
    parser.add_argument("--dry-run", action="store_true", help="do everything but send")
    parser.add_argument("--policy", action=argparse.BooleanOptionalAction, default=True, help="run the policy node")
    parser.add_argument(
        "--arms",
        default="",
        help=f"{', '.join(get_args(Arms))} (default: what robot.yaml says): docs/ros2_control.md",
    )
    parser.add_argument(
        "--cameras", default="", help=f"{', '.join(get_args(Cameras))} (default: kinect, or with emulators scene)"
    )
    for argument, ours in CAMERA_TOPICS.items():
        text = f"with --cameras topics: the driver's topic (default: {ours})"
        parser.add_argument(f"--{argument.replace('_', '-')}", default="", help=text)
    parser.add_argument("--recordings", type=user_path, help="for playback: folder of left.mkv and right.mkv")
    parser.add_argument(
        "--checkpoint", type=optional_path, default="", help="folder of the policy (default: the shipped)"
    )
    parser.add_argument("--left-host", default="", help="address of the left arm (default: that of robot.yaml)")
    parser.add_argument("--right-host", default="", help="address of the right arm")
    add_view_arguments(parser)
    parser.add_argument(
        "--view-commands",
        action=argparse.BooleanOptionalAction,
        help="start and stop buttons besides the emergency stop (default: with emulators)",
    )
    parser.add_argument("--emulator-log", type=optional_path, default="", help="file for the log of the emulated arms")
    options = parser.parse_args()
    config = RealGraphConfig(
        config=options.config,
        use_emulators=options.use_emulators,
        dry_run=options.dry_run,
        policy=options.policy,
        arms=options.arms,
        cameras=options.cameras,
        camera_topics={ours: getattr(options, argument) for argument, ours in CAMERA_TOPICS.items()},
        recordings=options.recordings,
        checkpoint=options.checkpoint,
        hosts={"left": options.left_host, "right": options.right_host},
        emulator_log=options.emulator_log,
        settings=options.settings,
        view=view_choice(
            options, allow_commands=options.use_emulators if options.view_commands is None else options.view_commands
        ),
    )
    nodes = real_graph(config)
    os.environ.update(process_environment())
    stop = asked_to_end()
    with running(nodes, processes=True) as graph:
        print("the graph runs, disabled; Ctrl-C ends it", flush=True)
        while not stop.wait(0.2):
            graph.check()


if __name__ == "__main__":
    main()
