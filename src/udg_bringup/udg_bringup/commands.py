"""`udg`: one entry point for all commands; `udg --help` lists them, `udg COMMAND --help` explains one."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from udg_description.environment import ROBOT_VARIABLE
from udg_description.errors import UdgError, cli


class Command(NamedTuple):
    """A command, the module whose `main` it runs, and what it is for in one line."""

    name: str
    module: str
    purpose: str


COMMANDS: dict[str, tuple[Command, ...]] = {
    "Try it": (
        Command("sim", "udg_bringup.sim_trials", "trials in simulation through the ROS nodes, with film and report"),
        Command("view", "udg_bringup.compose", "the simulated graph until Ctrl-C, with --view live in the browser"),
        Command("animation", "udg_bringup.animation", "recorded trials as an animated picture (WebP or GIF)"),
        Command("view-picture", "udg_bringup.view_picture", "screenshot of the live view, by a headless browser"),
    ),
    "Objects and grasps": (
        Command("objects", "udg_sim.preparation.objects", "prepare objects, fetch sources, add folders of meshes"),
        Command("objects-table", "udg_sim.preparation.objects_table", "list the object library"),
        Command("held-out", "udg_sim.preparation.held_out", "rebuild the list of held-out objects from all sources"),
        Command("grasps", "udg_datagen.grasps.grasps", "grasps of one object: file, picture, web page"),
        Command("grasps-exchange", "udg_datagen.exchange.grasps_exchange", "other projects' grasp files, both ways"),
        Command("hand", "udg_datagen.hands.hand", "describe another hand by its URDF"),
        Command("try-hand", "udg_datagen.grasps.try_hand", "try a described hand on an object"),
    ),
    "Data": (
        Command("demos", "udg_datagen.demonstrations.demos", "generate demonstrations; resumes where it stopped"),
        Command("corrections", "udg_datagen.demonstrations.corrections", "the expert takes over from a policy"),
        Command("agreement", "udg_datagen.demonstrations.agreement", "how consistently the expert chooses a grasp"),
        Command("data-info", "udg_datagen.demonstrations.data_info", "summary of a data set, with pictures"),
        Command("export", "udg_policy.exchange.export", "export a data set for other projects (DP3, LeRobot)"),
        Command("import", "udg_policy.exchange.import_", "import episodes from bags and LeRobot data sets"),
        Command("convert", "udg_policy.episodes.convert", "convert a data set of an older schema"),
        Command("states", "udg_datagen.demonstrations.states", "data sets without their clouds, in one small file"),
        Command("clouds", "udg_datagen.demonstrations.clouds", "make data sets from their states, clouds imaged again"),
        Command("pack", "udg_policy.episodes.pack", "split a data set or checkpoint into parts, to move it"),
    ),
    "Policy": (
        Command("train", "udg_policy.training.train", "train a policy"),
        Command("average", "udg_policy.network.average", "the mean of the weights of checkpoints"),
        Command("trials", "udg_datagen.evaluation.trials", "closed-loop trials without ROS, through the safety filter"),
        Command("dp3-train", "udg_datagen.baselines.dp3.dp3_train", "train 3D Diffusion Policy, a baseline"),
        Command("benchmark", "udg_datagen.benchmark.benchmark", "policies on the same trials: tables, a page"),
        Command(
            "benchmark-curve",
            "udg_datagen.benchmark.benchmark_curve",
            "success against frames or minutes, from results",
        ),
        Command(
            "paired", "udg_datagen.evaluation.paired", "compare two policies on the same trials, with interval and p"
        ),
        Command("ablations", "udg_datagen.evaluation.ablations", "train and measure variants of a preset"),
        Command("episode-page", "udg_policy.pages.episode_page", "play an episode with a checkpoint on a web page"),
    ),
    "Robot": (
        Command("robot", "udg_bringup.real", "run the real robot's nodes; on emulators with --use-emulators"),
        Command("calibrate", "udg_perception.calibration.__main__", "camera poses from observations"),
        Command("record-scene", "udg_bringup.record_scene", "record depth images of a scene"),
        Command("record", "udg_bringup.ros.record", "record a running graph into a bag (MCAP)"),
        Command("replay", "udg_bringup.replay", "play a recording in the browser, with a time slider"),
        Command("fault-table", "udg_bringup.fault_table", "play every fault on the emulated robot"),
    ),
    "Measure": (
        Command("bench-tick", "udg_bringup.bench_tick", "time from depth image to command"),
        Command("bench-control", "udg_bringup.bench_control", "500 Hz to both emulated arms with all nodes running"),
        Command("bench-policy", "udg_policy.bench.bench_policy", "time from cloud to action, and training throughput"),
        Command("bench-choice", "udg_policy.bench.bench_choice", "cost of a choice of policy settings"),
        Command("bench-train", "udg_policy.bench.bench_train", "training samples per second, against plain float32"),
        Command("bench-dataset", "udg_policy.bench.bench_dataset", "how fast a data set is written and read"),
        Command("bench-synthesis", "udg_datagen.bench.bench_synthesis", "grasp synthesis against baselines"),
    ),
}
COMPLETION = {
    "bash": 'complete -o default -W "{names}" udg',
    "zsh": 'autoload -U +X bashcompinit && bashcompinit\ncomplete -o default -W "{names}" udg',
    "fish": "complete -c udg -n __fish_use_subcommand -a '{names}'",
}


def commands() -> dict[str, Command]:
    """All commands by name."""
    return {command.name: command for group in COMMANDS.values() for command in group}


def overview() -> str:
    """The table of contents."""
    lines = ["usage: udg [--robot NAME|FILE.yaml] COMMAND [options]   (udg COMMAND --help explains one)", ""]
    for group, members in COMMANDS.items():
        lines += [group, *(f"  {command.name:16s}{command.purpose}" for command in members), ""]
    lines.append(f'udg completion {"|".join(COMPLETION)}: enable completion, e.g. eval "$(udg completion bash)"')
    return "\n".join(lines)


def completion(shell: str) -> str:
    """Lines that a shell reads for completion. Raises UdgError for a shell that is not known."""
    if shell not in COMPLETION:
        raise UdgError(f"udg completion: no shell '{shell}'; valid: {', '.join(COMPLETION)}")
    return COMPLETION[shell].format(names=" ".join([*commands(), "completion"]))


def run(arguments: Sequence[str]) -> int | None:
    """Run the command that the arguments name. Raises UdgError if there is none of that name."""
    arguments = _choose_robot(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    name, rest = arguments[0], list(arguments[1:])
    if name == "completion":
        print(completion(rest[0] if rest else ""))
        return 0
    if name not in commands():
        near = difflib.get_close_matches(name, commands(), n=3)
        raise UdgError(f"no command '{name}'; valid: {', '.join(near or commands())} (udg --help lists all)")
    sys.argv = [f"udg {name}", *rest]
    return importlib.import_module(commands()[name].module).main()


def _choose_robot(arguments: Sequence[str]) -> Sequence[str]:
    """Take `--robot` off the arguments; this process and those that it starts are about that robot. Raises UdgError."""
    if not os.environ.get(ROBOT_VARIABLE) and list(arguments[:1]) != ["--robot"]:
        return arguments  # the default robot; the table of contents comes without loading it
    from udg_description.robot import current_robot, shipped_robots

    if arguments and arguments[0] == "--robot":
        if len(arguments) < 2:
            raise UdgError(f"udg --robot: a name or file is needed; valid: {', '.join(shipped_robots())}, FILE.yaml")
        os.environ[ROBOT_VARIABLE] = arguments[1]
        arguments = arguments[2:]
    current_robot()  # a wrong one is reported in one line, before anything is built from it
    return arguments


def main() -> None:
    """Run the command that the command line names."""
    cli(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    main()
