"""How long a tick takes, newest depth image to command, with all nodes running: `udg bench-tick`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from udg_bringup.compose import add_graph_arguments, add_view_arguments, view_choice
from udg_bringup.graph import LOCKSTEP_DEADLINE_S, SimGraphConfig, ViewChoice, sim_graph
from udg_bringup.ros.running import RunningGraph, isolate, running
from udg_bringup.ros.trial_client import TrialClient, trial_client
from udg_description.camera import cameras_of
from udg_description.errors import UdgError, cli
from udg_sim.trials.session import TrialSpec
from udg_sim.trials.status import TrialStatus

if TYPE_CHECKING:
    from udg_bringup.view.looker import Looker

TICK_S = 0.1
TRIAL_TICKS = 120  # a trial's length; the benchmark runs as many trials as it needs
GB = 1e9


class BenchError(UdgError):
    """An argument of the benchmark that can't be used."""


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """One benchmark of the tick."""

    ticks: int = 200
    warm_up: int = 10  # ticks at the start that do not count
    object: str = SimGraphConfig().object
    seed: int = 0
    checkpoint: Path | None = None  # None = the shipped one
    lockstep: bool = True
    noise: bool = True
    processes: bool = False
    camera_config: str = ""  # file of the cameras, "" = the default cameras
    settings: str = ""  # ROS parameter file for the nodes, "" = their defaults
    view: ViewChoice = field(default_factory=ViewChoice)  # with somebody who looks at it

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.ticks < 1:
            raise BenchError(f"--ticks is {self.ticks}; valid: 1 or more")
        if self.seed < 0:
            raise BenchError(f"--seed is {self.seed}; valid: 0 or more")


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """What was measured."""

    tick_ms: np.ndarray  # (N,)
    by_stage_ms: Mapping[str, np.ndarray]  # each (N,)
    memory_bytes: int  # resident, all processes of the graph and the benchmark itself
    view: Mapping[str, float] = field(default_factory=dict)  # what the view sent and used

    def summary(self) -> dict[str, object]:
        """What the last line of the output says."""
        return {
            "p50_ms": _percentile(self.tick_ms, 50),
            "p99_ms": _percentile(self.tick_ms, 99),
            "max_ms": _percentile(self.tick_ms, 100),
            "by_stage_ms": {
                name: {"p50": _percentile(times_ms, 50), "p99": _percentile(times_ms, 99)}
                for name, times_ms in self.by_stage_ms.items()
            },
            **({"view": dict(self.view)} if self.view else {}),
        }


def _percentile(times_ms: np.ndarray, percent: float) -> float:
    return round(float(np.percentile(times_ms, percent)), 2)


def bench(config: BenchConfig) -> BenchResult:
    """Run the graph for this many ticks and return their times. Raises UdgError."""
    graph_config = SimGraphConfig(
        checkpoint=str(config.checkpoint or ""),
        object=config.object,
        seed=config.seed,
        lockstep=config.lockstep,
        noise=config.noise,
        autostart=False,
        command_deadline_s=LOCKSTEP_DEADLINE_S,
        trial_time_s=TRIAL_TICKS * TICK_S if config.lockstep else 0.0,
        camera_config=config.camera_config,
        view=config.view,
        settings=config.settings,
    )
    cameras = [camera.name for camera in cameras_of(config.camera_config)]
    isolate()
    with running(sim_graph(graph_config), processes=config.processes) as graph:
        with trial_client(graph, cameras=cameras, watch_commands=not config.lockstep) as client:
            with _looking(config, graph) as looker:
                _run_ticks(client, config)
                view = looker.figures() if looker is not None else {}
            memory_bytes = sum(resident_bytes(pid) for pid in graph.pids())
            times = client.stages
    return BenchResult(
        tick_ms=times.tick_ms()[config.warm_up :],
        by_stage_ms={name: values[config.warm_up :] for name, values in times.by_stage_ms().items()},
        memory_bytes=memory_bytes,
        view=view,
    )


def _looking(config: BenchConfig, graph: RunningGraph) -> AbstractContextManager[Looker | None]:
    if not config.view.show:
        return nullcontext()
    from udg_bringup.view.looker import looking

    return looking(config.view.port, graph.pid_apart("web_view"))


def _run_ticks(client: TrialClient, config: BenchConfig) -> None:
    def go_on(status: TrialStatus) -> bool:
        return status.time_s < TRIAL_TICKS * TICK_S and client.stages.count < config.warm_up + config.ticks

    trial = 0
    while client.stages.count < config.warm_up + config.ticks:
        spec = TrialSpec(object=config.object, seed=config.seed, trial=trial)
        client.begin(spec)
        client.watch(spec, go_on)
        client.end()
        trial += 1


def resident_bytes(pid: int) -> int:
    """Resident memory of a process [bytes] (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise BenchError(f"process {pid} has ended")


def main() -> None:
    """Measure the tick: newest depth image out to command in. The last line printed is one JSON object."""
    cli(_main)


def _main() -> None:
    default = BenchConfig()
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--ticks", type=int, default=default.ticks, help="ticks to measure (default: 200)")
    parser.add_argument("--object", default=default.object, help="library id or path.obj@0.1")
    parser.add_argument("--lockstep", action=argparse.BooleanOptionalAction, default=True, help="else real time")
    add_graph_arguments(parser)
    add_view_arguments(parser)
    options = parser.parse_args()
    result = bench(
        BenchConfig(
            ticks=options.ticks,
            object=options.object,
            seed=options.seed,
            checkpoint=Path(options.checkpoint) if options.checkpoint else None,
            lockstep=options.lockstep,
            noise=options.noise,
            processes=options.processes,
            camera_config=options.camera_config,
            settings=options.settings,
            view=view_choice(options, allow_commands=False),
        )
    )
    print(f"memory: {result.memory_bytes / GB:.2f} GB resident, all nodes")
    print(json.dumps(result.summary()), flush=True)


if __name__ == "__main__":
    main()
