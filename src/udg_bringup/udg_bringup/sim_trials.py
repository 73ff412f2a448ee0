"""Grasp trials in simulation, through the ROS graph: `udg sim --trials 10`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np

from udg_bringup.checkpoints import checkpoint_folder
from udg_bringup.compose import add_graph_arguments, add_policy_argument, add_view_arguments, view_choice
from udg_bringup.film import FILM_NAME, Film, filming
from udg_bringup.graph import LOCKSTEP_DEADLINE_S, PLANNING_DEADLINE_S, SimGraphConfig, ViewChoice, sim_graph
from udg_bringup.report import TrialRecord, by_cause, by_object, html_page, percentiles_ms
from udg_bringup.ros.running import isolate, running
from udg_bringup.ros.trial_client import Deadlines, TrialClient, trial_client
from udg_datagen.evaluation.trial_cause import cause_of_states
from udg_description.camera import cameras_of
from udg_description.errors import UdgError, cli
from udg_description.files import next_free, user_path, whole_folder, write_atomically
from udg_description.names import safe_name
from udg_description.robot import current_robot
from udg_policy.network.checkpoint import load_checkpoint
from udg_sim.objects.library import SIZES, ObjectLibrary
from udg_sim.objects.selection import HELP, select
from udg_sim.trials.session import TrialSpec
from udg_sim.trials.status import TrialStatus

RESULT_FILE = "result.json"
TRIALS_FOLDER = "trials"  # one file a trial, for `make replay`
MAX_TRIAL_S = 90.0


class TrialsError(UdgError):
    """An argument of the run that can't be used."""


@dataclass(frozen=True, kw_only=True)
class TrialsConfig:
    """One run of trials."""

    trials: int = 10
    objects: tuple[str, ...] = ()  # library ids or path.obj@0.1; () = those that the checkpoint was trained on
    seed: int = 0
    time_limit_s: float = 12.0  # simulated time of one trial
    policy: str = "checkpoint"  # one of graph.POLICIES
    checkpoint: Path | None = None  # None = the shipped one
    lockstep: bool = True
    noise: bool = True
    video: bool = True
    processes: bool = False
    out: Path = Path("out/sim")
    force: bool = False  # replace an earlier run in `out`
    camera_config: str = ""  # file of the cameras, "" = the default cameras
    view: ViewChoice = field(default_factory=ViewChoice)  # in the browser
    settings: str = ""  # ROS parameter file for the nodes, "" = their defaults

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.trials < 1:
            raise TrialsError(f"--trials is {self.trials}; valid: 1 or more")
        if self.seed < 0:
            raise TrialsError(f"--seed is {self.seed}; valid: 0 or more")
        if not 1.0 <= self.time_limit_s <= MAX_TRIAL_S:
            raise TrialsError(f"--time-limit is {self.time_limit_s}; valid: from 1 to {MAX_TRIAL_S:.0f} seconds")


def run_trials(config: TrialsConfig) -> dict[str, object]:
    """Run the trials, write film and report to `config.out`, return the summary. Raises UdgError."""
    library = ObjectLibrary()
    policy, train_objects = _policy(config)
    objects = config.objects or sizes_in_turn(train_objects, library)
    if not objects:
        raise TrialsError(f"the {policy} names no training objects; name some with --objects")
    specs = [TrialSpec(object=objects[i % len(objects)], seed=config.seed, trial=i) for i in range(config.trials)]
    names = list(dict.fromkeys(spec.object for spec in specs))
    head = f"{len(specs)} trials on {len(names)} objects, {policy}, robot {current_robot().name}"
    print(f"{head}; meshes of your own are prepared first, once, up to a minute each", flush=True)
    for name in names:
        library.get(name)
    graph_config = SimGraphConfig(
        policy=config.policy,
        checkpoint="" if config.checkpoint is None else str(config.checkpoint),
        object=specs[0].object,
        seed=config.seed,
        lockstep=config.lockstep,
        noise=config.noise,
        autostart=False,
        command_deadline_s=LOCKSTEP_DEADLINE_S,
        trial_time_s=config.time_limit_s if config.lockstep else 0.0,
        camera_config=config.camera_config,
        view=config.view,
        settings=config.settings,
    )
    cameras = [camera.name for camera in cameras_of(config.camera_config)]
    isolate()
    with whole_folder(config.out, replace=RESULT_FILE if config.force else "") as folder:
        with (
            filming(folder, library) if config.video else nullcontext() as film,
            running(sim_graph(graph_config), processes=config.processes) as graph,
        ):
            silence_s = 2.0 * PLANNING_DEADLINE_S if config.policy == "planner" else Deadlines().silence_s
            with trial_client(graph, Deadlines(silence_s=silence_s), cameras=cameras) as client:
                records, by_stage_ms = _run_all(client, specs, config.time_limit_s, film, folder / TRIALS_FOLDER)
        summary = summarise(records)
        (folder / RESULT_FILE).write_text(json.dumps(summary) + "\n", encoding="utf-8")
        page = html_page(
            title="Grasp trials in simulation",
            records=records,
            settings=_settings(config, policy),
            by_stage_ms=by_stage_ms,
            video=FILM_NAME if config.video else None,
        )
        (folder / "report.html").write_text(page, encoding="utf-8")
    return summary


def sizes_in_turn(names: Sequence[str], library: ObjectLibrary) -> tuple[str, ...]:
    """The names with a sizes in turn, in the order of the library; those that it does not list at the end."""
    known = set(names)
    groups = [[name for name in library.ids(size=size) if name in known] for size in SIZES]
    mixed = [name for row in zip_longest(*groups) for name in row if name is not None]
    return (*mixed, *(name for name in names if name not in set(mixed)))


def summarise(records: Sequence[TrialRecord]) -> dict[str, object]:
    """What the last line of the output says."""
    tick_ms = np.concatenate([record.tick_ms for record in records])
    return {
        "trials": len(records),
        "successes": sum(record.success for record in records),
        "by_object": by_object(records),
        "by_cause": by_cause(records),
        "tick_ms": percentiles_ms(tick_ms),
    }


def _policy(config: TrialsConfig) -> tuple[str, tuple[str, ...]]:
    """Its name, and the objects that it was trained on. Raises UdgError for a bad checkpoint."""
    if config.policy == "planner":
        return "planner", ()
    folder = checkpoint_folder(config.checkpoint)
    return f"checkpoint {folder.name}", load_checkpoint(folder).train_objects


def _settings(config: TrialsConfig, policy: str) -> dict[str, object]:
    return {
        "policy": policy,
        "robot": current_robot().name,
        "seed": config.seed,
        "time limit [s]": config.time_limit_s,
        "simulation": "lockstep" if config.lockstep else "real time",
        "depth noise": "on" if config.noise else "off",
        "nodes": "one process each" if config.processes else "one process for all",
    }


def _run_all(
    client: TrialClient, specs: Sequence[TrialSpec], time_limit_s: float, film: Film | None, folder: Path
) -> tuple[list[TrialRecord], dict[str, np.ndarray]]:
    records = []
    folder.mkdir()
    for spec in specs:
        record, statuses = run_trial(client, spec, time_limit_s, film)
        _keep(folder / f"{spec.trial:03d}_{safe_name(spec.object)}.jsonl", statuses)
        records.append(record)
        print(_progress(record, len(specs)), flush=True)
    return records, client.stages.by_stage_ms()


def run_trial(
    client: TrialClient, spec: TrialSpec, time_limit_s: float, film: Film | None
) -> tuple[TrialRecord, list[TrialStatus]]:
    """Run one trial to success or the end of its simulated time; its outcome, and its state at each tick."""
    statuses: list[TrialStatus] = []

    def on_status(status: TrialStatus) -> bool:
        statuses.append(status)
        return not status.success and status.time_s < time_limit_s

    began_s = time.monotonic()
    client.begin(spec)
    last = client.watch(spec, on_status)
    client.end()
    wall_s = time.monotonic() - began_s
    tick_ms = np.array([status.tick_ms for status in statuses])
    record = TrialRecord(
        object=spec.object,
        seed=spec.seed,
        trial=spec.trial,
        success=last.success,
        raised_m=max(status.raised_m for status in statuses),
        time_s=last.time_s,
        wall_s=wall_s,
        tick_ms=tick_ms[np.isfinite(tick_ms)],
        pictures=film.add(statuses) if film is not None else (),
        cause="" if last.success else _cause(statuses),
    )
    return record, statuses


def _keep(path: Path, statuses: Sequence[TrialStatus]) -> None:
    """Write a trial's states, one line a tick."""
    write_atomically(path, "".join(f"{status.to_json()}\n" for status in statuses))


def _cause(statuses: Sequence[TrialStatus]) -> str:
    poses, joints = (np.array([getattr(status, name) for status in statuses]) for name in ("T_world_object", "q"))
    step_s = (statuses[-1].time_s - statuses[0].time_s) / max(1, len(statuses) - 1)
    return cause_of_states(poses, joints, max(status.raised_m for status in statuses), step_s or 0.1)


def _progress(record: TrialRecord, trials: int) -> str:
    what = "lifted" if record.success else f"not lifted ({record.cause.replace('_', ' ')})"
    p50 = percentiles_ms(record.tick_ms)["p50"]
    return (
        f"trial {record.trial + 1}/{trials} {record.object}: {what} after {record.time_s:.1f} s "
        f"(raised {record.raised_m:.3f} m; {record.wall_s:.0f} s of wall clock, tick {p50} ms)"
    )


def main() -> None:
    """Run grasp trials in simulation, through the ROS graph; the last line printed is one JSON object."""
    cli(_main)


def _main() -> None:
    default = TrialsConfig()
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--trials", type=int, default=default.trials, help="number of trials (default: 10)")
    parser.add_argument("--objects", default="", help=f"{HELP}; default: the checkpoint's training set")
    parser.add_argument("--time-limit", type=float, default=default.time_limit_s, help="simulated seconds per trial")
    parser.add_argument(
        "--out",
        type=user_path,
        default=default.out,
        help="folder of film and report (default: out/sim); numbered if an earlier run is there",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier run in --out")
    parser.add_argument("--lockstep", action=argparse.BooleanOptionalAction, default=True, help="else real time")
    parser.add_argument("--video", action=argparse.BooleanOptionalAction, default=True, help="write the film")
    add_policy_argument(parser)
    add_graph_arguments(parser)
    add_view_arguments(parser)
    options = parser.parse_args()
    out = options.out if options.force else next_free(options.out)
    summary = run_trials(
        TrialsConfig(
            trials=options.trials,
            objects=tuple(select(options.objects, ObjectLibrary())) if options.objects.strip() else (),
            seed=options.seed,
            time_limit_s=options.time_limit,
            policy=options.policy,
            checkpoint=Path(options.checkpoint) if options.checkpoint else None,
            lockstep=options.lockstep,
            noise=options.noise,
            video=options.video,
            processes=options.processes,
            out=out,
            force=options.force,
            camera_config=options.camera_config,
            view=view_choice(options, allow_commands=False),
            settings=options.settings,
        )
    )
    print(f"report: {out / 'report.html'}")
    print(json.dumps(summary), flush=True)


if __name__ == "__main__":
    main()
