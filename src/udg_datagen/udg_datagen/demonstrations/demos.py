"""The demonstration factory: objects in, a dataset out; on one core or a cluster, stopped and resumed at will."""

from __future__ import annotations

import argparse
import heapq
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tqdm import tqdm

from udg_datagen.demonstrations.attempt import AttemptConfig, Attempter
from udg_datagen.demonstrations.demonstration import UNPLANNED, Rejected
from udg_datagen.demonstrations.learner_noise import noise_of
from udg_datagen.demonstrations.stopwatch import Stopwatch
from udg_datagen.demonstrations.tasks import Made, Preparation, Task, mesh_digest, tasks_of
from udg_datagen.grasps.grasp_store import robot_key
from udg_datagen.workers import Outcome, Pool, add_workers, open_pool
from udg_description.cache import say_if_not_writable
from udg_description.errors import DISK_FULL, UdgError, cli, explain
from udg_description.files import check_folder, one_writer, user_path, write_atomically
from udg_description.settings import add_config, configured, seed_number
from udg_policy.episodes.dataset import Episode, EpisodeWriter
from udg_policy.episodes.episode_file import encode_episode, verify
from udg_policy.episodes.pack import is_packed
from udg_policy.errors import DatasetError
from udg_policy.network.checkpoint import load_checkpoint
from udg_sim.objects.library import SIZES, ObjectLibrary
from udg_sim.objects.selection import HELP, select

NOT_EXECUTED = (*UNPLANNED, "no_rest", "not_needed", "bad_object", "worker_died", "timed_out", "not_begun", "error")
"""Results of attempts that never came to the execution."""
TRY_AGAIN = ("bad_object", "worker_died", "timed_out", "not_begun", "error")
"""Results that a resumed run does not take for final."""
SETTINGS_NAME = "factory.json"  # beside the episodes: what they were made with
_TRIES = 2  # of a task whose worker dies


class Settings(Protocol):
    """A dataclass of a run's settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class FactoryError(UdgError):
    """A run that cannot start or go on."""


class DemoWorker:
    """Does the jobs of a worker."""

    def __init__(self, config: AttemptConfig) -> None:
        self._attempter = Attempter(config)

    def __call__(self, job: Task | Preparation) -> Made:
        watch = Stopwatch()
        if isinstance(job, Preparation):
            target = self._attempter.prepare(job.object, job.pose, watch)
            return Made(account={"size_class": target.size_class, "seconds_by_stage": rounded(watch.seconds)})
        return account_of(job, partial(self._attempter.attempt, job.object, job.seed, watch), watch)


def account_of(task: Task, attempt: Callable[[], Episode], watch: Stopwatch) -> Made:
    """What an attempt gives, and its account; the watch is the one that the attempt adds its time to."""
    account: dict[str, Any] = {"object": task.object, "seed": task.seed, "result": "success", "frames": 0}
    data = None
    try:
        episode = attempt()
        account |= {
            "frames": len(episode),
            "sides": episode.meta["sides"],
            "strategy": episode.meta["strategy"],
            "noisy": episode.meta["noisy"],
            "motion": episode.meta["motion"],
        }
        with watch.time("write"):
            data = encode_episode(episode)
    except Rejected as rejected:
        account |= {"result": rejected.reason, **rejected.facts}
    account |= {
        "executed": account["result"] not in NOT_EXECUTED,
        "seconds": round(sum(watch.seconds.values()), 2),
        "seconds_by_stage": rounded(watch.seconds),
    }
    return Made(account=account, episode=data)


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    """Seconds to the millisecond."""
    return {step: round(value, 3) for step, value in seconds.items()}


class Ledger:
    """The folder of a run: episodes, accounts of all attempts, what is done already."""

    def __init__(self, folder: Path, config: Settings) -> None:
        """Raise FactoryError for a folder made with other settings, or one that cannot be written."""
        self.folder = folder
        self._accounts = folder / "attempts"
        try:
            self._accounts.mkdir(parents=True, exist_ok=True)
            self._writer = EpisodeWriter(folder)
            self._same_config(json.loads(json.dumps(asdict(config))))
        except OSError as error:
            raise self._no_room(error) from error
        self._digests: dict[str, str] = {}

    def _same_config(self, config: dict[str, Any]) -> None:
        path, config = self.folder / SETTINGS_NAME, {**config, "robot": robot_key()}
        if is_packed(self.folder):
            raise FactoryError(
                f"{self.folder} is a packed data set; valid: a new folder, or `udg pack --unpack` it first"
            )
        if not path.exists():
            if any(self.folder.glob("episode_*")):
                raise FactoryError(
                    f"{self.folder} holds episodes that this command did not make; valid: another folder"
                )
            write_atomically(path, (json.dumps(config, indent=1) + "\n").encode())
            return
        before = _with_planner(_read_json(path))
        if isinstance(before, dict):
            before.setdefault("robot", config["robot"])  # of before it was told
        if before != config:
            raise FactoryError(
                f"{self.folder} was made with other settings ({', '.join(_differences(before, config))}); "
                "valid: the same settings, or another folder"
            )

    def finished(self, tasks: Sequence[Task]) -> tuple[dict[Task, dict[str, Any]], list[str]]:
        """Accounts of the tasks that need not be done again, and a line about each episode that is not sound."""
        done, lines = {}, []
        for task in tasks:
            account = _read_json(self._accounts / f"{task.name}.json")
            if account is None or account.get("result") in (None, *TRY_AGAIN):
                continue
            self._same_task(task, account)
            if account["result"] == "success":
                path = self._writer.path(task.name)
                try:
                    verify(path.read_bytes(), str(path))
                except FileNotFoundError:
                    lines.append(f"{path.name} is missing: will be generated again")
                    continue
                except (DatasetError, OSError) as error:
                    lines.append(f"{path.name} is damaged ({error}): will be generated again")
                    path.unlink(missing_ok=True)
                    continue
            done[task] = account
        return done, lines

    def _same_task(self, task: Task, account: dict[str, Any]) -> None:
        """Raise FactoryError for an account that is of something else than the task it would stand for."""
        if (account.get("object"), account.get("seed")) != (task.object, task.seed):
            what = f"object {account.get('object')} with seed {account.get('seed')}"
        elif account.get("mesh_sha256", "") != self._digest(task.object):
            what = f"another mesh file of the same name, {task.object}"
        else:
            return
        raise FactoryError(f"{self._accounts / task.name}.json is of {what}; valid: another folder")

    def _digest(self, object_id: str) -> str:
        if object_id not in self._digests:
            self._digests[object_id] = mesh_digest(object_id)
        return self._digests[object_id]

    def write(self, task: Task, made: Made) -> None:
        """First the episode, then the account: what has an account is whole. Raises FactoryError: disk full."""
        if digest := self._digest(task.object):
            made.account["mesh_sha256"] = digest
        try:
            if made.episode is not None:
                write_atomically(self._writer.path(task.name), made.episode)
            write_atomically(self._accounts / f"{task.name}.json", (json.dumps(made.account) + "\n").encode())
        except OSError as error:
            raise self._no_room(error) from error

    def finish(self, config: Settings, summary: dict[str, Any]) -> None:
        """Write the manifest of the dataset."""
        try:
            self._writer.finish(config=json.loads(json.dumps(asdict(config))), summary=summary)
        except OSError as error:
            raise self._no_room(error) from error

    def _no_room(self, error: OSError) -> FactoryError:
        if error.errno in DISK_FULL:
            return disk_full(str(self.folder))
        return FactoryError(explain(error, self.folder))


def disk_full(where: str) -> FactoryError:
    """What to tell when the disk is full."""
    return FactoryError(
        f"{where}: no space is left on the disk; what is written is whole. Free some space and run the same command "
        "again: it continues from here"
    )


@dataclass
class _Progress:
    """Accounts of this run and of earlier ones, and what the preparations took."""

    accounts: dict[Task, dict[str, Any]] = field(default_factory=dict)
    preparation_s: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, str] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)


def run_factory(
    config: AttemptConfig, tasks: Sequence[Task], ledger: Ledger, pool: Pool, progress: bool = True
) -> dict[str, Any]:
    """Do the tasks that are not done yet; returns the summary of all.

    Tasks are started in their order. The grasps of a resting pose are made in a job of their own before its first
    attempt. The result does not depend
    on the number of workers. Raises FactoryError when the disk is full.
    """
    began = time.monotonic()
    state = _Progress()
    state.accounts, lines = ledger.finished(tasks)
    for line in lines:
        print(line, file=sys.stderr)
    pending = [task for task in tasks if task not in state.accounts]
    order = {task: index for index, task in enumerate(tasks)}
    waiting: dict[Preparation, list[Task]] = {}
    for task in pending:
        waiting.setdefault(Preparation(task.object, task.seed % max(config.poses, 1)), []).append(task)
    queue: list[tuple[int, Task | Preparation]] = [(order[group[0]], job) for job, group in waiting.items()]
    heapq.heapify(queue)
    tries: Counter[Task | Preparation] = Counter()
    running: dict[Hashable, tuple[int, Task | Preparation]] = {}
    frames = 0
    bar = tqdm(
        total=len(pending),
        desc="demonstrations",
        unit="attempt",
        smoothing=0.02,
        disable=not progress,
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
    )
    with bar:
        while queue or pool.busy:
            while pool.idle and queue:
                place, job = heapq.heappop(queue)
                tries[job] += 1
                running[job] = (place, job)
                pool.submit(job, job)
            for key, outcome in pool.wait(1.0):
                place, job = running.pop(key)
                if outcome.failure == "disk_full":
                    raise disk_full(f"a worker (cache folder or temporary files): {outcome.message}")
                if outcome.failure == "worker_died" and tries[job] < _TRIES:
                    heapq.heappush(queue, (place, job))
                    continue
                if isinstance(job, Preparation) and not outcome.failure:
                    for task in waiting[job]:
                        heapq.heappush(queue, (order[task], task))
                for task, made in _results(job, outcome, waiting, state):
                    ledger.write(task, made)
                    state.accounts[task] = made.account
                    frames += made.account["frames"]
                    bar.update()
            seconds = max(time.monotonic() - began, 1e-3)
            kept = sum(account["result"] == "success" for account in state.accounts.values())
            bar.set_postfix_str(f"{kept} kept, {frames / seconds:.1f} frames/s", refresh=False)
    for message, count in state.messages.items():
        print(f"{count} x {message}", file=sys.stderr)
    wall_s = time.monotonic() - began
    summary = summarise([state.accounts[task] for task in tasks], state.preparation_s)
    summary["frames_per_s"] = round(frames / wall_s, 2) if frames else 0.0
    summary["wall_s"] = round(wall_s, 1)
    return summary


def _results(
    job: Task | Preparation,
    outcome: Outcome,
    waiting: dict[Preparation, list[Task]],
    state: _Progress,
) -> list[tuple[Task, Made]]:
    """Accounts that follow from a finished job: none for a preparation that went well, its tasks are ready then."""
    if isinstance(job, Preparation):
        tasks = waiting.pop(job)
        if not outcome.failure:
            state.sizes[job.object] = outcome.value.account["size_class"]
            state.preparation_s.update(outcome.value.account["seconds_by_stage"])
            return []
        result = "bad_object" if outcome.failure == "error" else outcome.failure
        tell = f"object {job.object}: {outcome.message}"
        state.messages[tell] = state.messages.get(tell, 0) + len(tasks)
        return [(task, _lost(task, result, outcome, state)) for task in tasks]
    if not outcome.failure:
        made: Made = outcome.value
        made.account["size_class"] = state.sizes[job.object]
        return [(job, made)]
    tell = f"{job.object}: {outcome.message}"
    state.messages[tell] = state.messages.get(tell, 0) + 1
    return [(job, _lost(job, outcome.failure, outcome, state))]


def _lost(task: Task, result: str, outcome: Outcome, state: _Progress) -> Made:
    return Made(
        account={
            "object": task.object,
            "seed": task.seed,
            "result": result,
            "frames": 0,
            "executed": False,
            "seconds": 0.0,
            "seconds_by_stage": {},
            "size_class": state.sizes.get(task.object, "unknown"),
            "message": outcome.message,
            "details": outcome.details,
        }
    )


def summarise(accounts: Sequence[dict[str, Any]], preparation_s: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Counts of attempts and CPU time, as the last line of the command prints them.

    success_rate = successes / executed; `executed` leaves out attempts without a feasible plan, whose share is
    `unplanned_share`, and those lost to broken objects and dead workers.
    """
    executed = [account for account in accounts if account["result"] not in NOT_EXECUTED]
    successes = [account for account in accounts if account["result"] == "success"]
    seconds: Counter[str] = Counter(preparation_s or {})
    for account in accounts:
        seconds.update(account["seconds_by_stage"])
    frames, total_s = sum(account["frames"] for account in accounts), sum(seconds.values())
    unplanned = sum(account["result"] in UNPLANNED for account in accounts)
    seen = sum(seconds[step] for step in ("depth", "cloud"))
    return {
        "attempted": len(accounts),
        "executed": len(executed),
        "successes": len(successes),
        "success_rate": _share(len(successes), len(executed)),
        "unplanned_share": _share(unplanned, len(accounts)),
        "objects": len({account["object"] for account in accounts}),
        "objects_with_success": len({account["object"] for account in successes}),
        "by_size": {size: _row([a for a in accounts if a["size_class"] == size]) for size in SIZES},
        "by_strategy": _by_strategy(accounts),
        "by_motion": dict(Counter(a["motion"] for a in executed if "motion" in a).most_common()),
        "reasons": dict(Counter(a["result"] for a in accounts if a["result"] != "success").most_common()),
        "frames": frames,
        "frames_per_core_s": round(frames / total_s, 2) if total_s else 0.0,
        "cpu_s_per_attempt": round(total_s / len(accounts), 2) if accounts else 0.0,
        "cloud_share": round(seconds["cloud"] / total_s, 3) if total_s else 0.0,
        "cloud_and_depth_share": round(seen / total_s, 3) if total_s else 0.0,
        "seconds_by_stage": {step: round(value, 1) for step, value in seconds.items()},
    }


def _row(accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    executed = sum(account["result"] not in NOT_EXECUTED for account in accounts)
    successes = sum(account["result"] == "success" for account in accounts)
    return {
        "attempted": len(accounts),
        "executed": executed,
        "successes": successes,
        "success_rate": _share(successes, executed),
    }


def _by_strategy(accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = sorted({account["strategy"] for account in accounts if "strategy" in account})
    return {name: _row([a for a in accounts if a.get("strategy") == name]) for name in names}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _read_json(path: Path) -> dict[str, Any] | None:
    """What a file holds; None when it is absent or no JSON (from a crash)."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _with_planner(settings: Any) -> Any:  # noqa: ANN401 - JSON
    """Settings from before there was a choice of planners, which name the only one."""
    if not isinstance(settings, dict):
        return settings
    known = {key: _with_planner(value) for key, value in settings.items()}
    return {"planner": "ompl", **known} if "paths_tried" in known else known


def _differences(before: object, now: object, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted({*before, *now})
        pairs = [(f"{name}.{key}".strip("."), before.get(key), now.get(key)) for key in keys]
        return [line for path, a, b in pairs for line in _differences(a, b, path)]
    return [] if before == now else [f"{name} {before} -> {now}"]


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make demonstrations of grasps in simulation.")
    parser.add_argument("--objects", default="train", help=f"{HELP}; default: train, all sizes in turn")
    parser.add_argument(
        "--episodes", type=int, default=90, help="total attempts, spread evenly over the objects (default: 90)"
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="first seed of each object (default: 0)")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the dataset; resumed when it exists")
    add_workers(parser)
    add_config(parser, AttemptConfig(), "{friction: [0.4, 1.0], demo: {hold_s: 1.0}}")
    parser.add_argument("--noisy-share", type=float, help="attempts with noise on the executed command (default: 0.5)")
    parser.add_argument(
        "--noise-of",
        type=user_path,
        help="checkpoint whose validation errors set the size of that noise (default: the settings' own)",
    )
    parser.add_argument(
        "--poses", type=int, help="use only this many likeliest resting poses (default: all, as in the trials)"
    )
    parser.add_argument(
        "--expert",
        choices=("scene", "spread"),
        help="scene: the same grasp in the same scene; spread: the nearest of a few varied ones (default: scene)",
    )
    parser.add_argument("--timeout", type=float, default=900.0, help="time limit per job [s] (default: 900)")
    return parser


def make_pool(config: AttemptConfig, workers: int | None, timeout_s: float) -> Pool:
    """Workers of this machine, or of the Ray cluster at RAY_ADDRESS."""
    return open_pool(partial(DemoWorker, config), workers, timeout_s)


def settings(options: argparse.Namespace) -> AttemptConfig:
    """What is attempted: the defaults, then the file, then the options, then the noise of a checkpoint."""
    config = configured(options.config, AttemptConfig(), "demos")
    given = {name: getattr(options, name) for name in ("noisy_share", "poses", "expert")}
    config = replace(config, **{name: value for name, value in given.items() if value is not None})
    if options.noise_of is None:
        return config
    return noise_of(config, load_checkpoint(options.noise_of).figures.get("validation", {}))


def run(arguments: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    options = build_parser().parse_args(arguments)
    check_counts(options)
    config = settings(options)
    tasks = tasks_of(select(options.objects, ObjectLibrary()), options.episodes, options.seed)
    make_dataset(options.out, config, config, tasks, lambda: make_pool(config, options.workers, options.timeout))


def check_counts(options: argparse.Namespace) -> None:
    """Raise FactoryError for options that have to be positive and are not."""
    if options.episodes < 1 or (options.workers is not None and options.workers < 1) or options.timeout <= 0:
        raise FactoryError(
            f"--episodes {options.episodes}, --workers {options.workers}, --timeout {options.timeout}: must be positive"
        )


def make_dataset(
    out: Path, described: Settings, config: AttemptConfig, tasks: Sequence[Task], start_pool: Callable[[], Pool]
) -> None:
    """Do the tasks with a pool into the folder, resume what is there, print the summary; Ctrl-C says how to continue.

    `described` are the settings that the data set is made with, of which `config` are those of the attempts.
    """
    check_folder(out)
    with one_writer(out):
        ledger = Ledger(out, described)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as with Ctrl-C
        say_if_not_writable()
        pool = start_pool()
        try:
            summary = run_factory(config, tasks, ledger, pool)
        except KeyboardInterrupt:
            print(f"\ninterrupted; the same command continues with what is in {out}", file=sys.stderr)
            raise
        finally:
            pool.close()
        try:
            if summary["successes"]:
                ledger.finish(described, summary)
        finally:
            print(json.dumps(summary))


def main() -> None:
    cli(run)


if __name__ == "__main__":
    main()
