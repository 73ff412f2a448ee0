"""The benchmark: policies on the same trials, into a folder with one row a trial, tables and a page.

    make benchmark PROTOCOL=quick POLICIES=ours,planner OUT=out/benchmark WORKERS=2

The same command continues where it was interrupted. The result does not depend on the number of workers. Last
line: JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from udg_datagen.benchmark.films import films
from udg_datagen.benchmark.pictures import object_pictures
from udg_datagen.benchmark.policies import HELP as POLICIES_HELP
from udg_datagen.benchmark.policies import Entrant, entrants
from udg_datagen.benchmark.protocol import PROTOCOLS, Protocol, facts_of, protocol_of
from udg_datagen.benchmark.report import judged, summary, write_report
from udg_datagen.benchmark.rows import Key, Row, Rows
from udg_datagen.benchmark.worker import BenchmarkWorker, Done, Task
from udg_datagen.evaluation.policy import DIED, HUNG, NOT_RUN
from udg_datagen.evaluation.rules import RULES, rules_of
from udg_datagen.evaluation.trials import RolloutConfig
from udg_datagen.workers import Outcome, Pool, add_workers, open_pool
from udg_description.cache import say_if_not_writable
from udg_description.errors import UdgError, cli
from udg_description.files import check_folder, one_writer, user_path, write_atomically
from udg_description.robot import current_robot
from udg_policy.network.checkpoint import git_hash
from udg_sim.objects.library import ObjectLibrary
from udg_sim.objects.selection import HELP as OBJECTS_HELP
from udg_sim.objects.selection import select

SETTINGS_NAME = "benchmark.json"
_TRIES = 2  # of a trial whose worker dies
_CAUSE_OF = {"timed_out": HUNG, "worker_died": DIED}


@dataclass
class Cost:
    """What the trials of this run took; those of earlier ones are not known."""

    cpu_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    trials: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)

    def add(self, policy: str, done: Done) -> None:
        """One more trial."""
        self.cpu_s[policy] += done.cpu_s
        self.trials[policy] += 1
        self.steps[policy] += done.steps

    def per_trial(self) -> dict[str, float]:
        """CPU seconds of a trial, by policy."""
        return {policy: round(self.cpu_s[policy] / count, 3) for policy, count in self.trials.items()}


def tasks_of(protocol: Protocol, policies: Sequence[Entrant], library: ObjectLibrary) -> list[Task]:
    """All trials, so ordered that any beginning is balanced: every object by every policy, then with the next seed.

    Raises UdgError for objects that do not exist or are not on this machine.
    """
    objects = select(protocol.objects, library)
    facts = facts_of(objects, library)
    return [
        Task(key=Key(one.name, name, seed), entrant=one, facts=facts[name])
        for seed in protocol.seeds
        for name in objects
        for one in policies
        if facts[name].size in one.sizes
    ]


def run_tasks(tasks: Sequence[Task], rows: Rows, pool: Pool, progress: bool = True) -> tuple[Cost, dict[str, int]]:
    """Do the trials that have no row yet; what they cost, and what policies and workers said, and how often."""
    cost, said, tries = Cost(), Counter[str](), Counter[Key]()
    pending = [task for task in tasks if task.key not in rows]
    pending.reverse()
    by_key = {task.key: task for task in pending}
    interval_s = 0.5 if sys.stderr.isatty() else 30.0
    with tqdm(total=len(pending), unit="trial", disable=not progress, mininterval=interval_s) as bar:
        while pending or pool.busy:
            while pending and pool.idle:
                task = pending.pop()
                tries[task.key] += 1
                pool.submit(task.key, task)
            for key, outcome in pool.wait(1.0):
                task = by_key[key]  # type: ignore[index]
                if outcome.failure == "worker_died" and tries[task.key] < _TRIES:
                    pending.append(task)
                    continue
                row = _row(task, outcome, cost)
                rows.add(row)
                if row.note:
                    said[f"{row.policy}: {row.cause}: {row.note}"] += 1
                bar.update()
    return cost, dict(said)


def _row(task: Task, outcome: Outcome, cost: Cost) -> Row:
    """The row of a trial that has ended, or could not be run."""
    if not outcome.failure:
        cost.add(task.key.policy, outcome.value)
        return outcome.value.row
    return task.row(cause=_CAUSE_OF.get(outcome.failure, NOT_RUN), note=outcome.message)


def settings(protocol: Protocol, policies: Sequence[Entrant], limit_s: float) -> dict[str, Any]:
    """What the results follow from, apart from the code."""
    return {
        "protocol": asdict(protocol),
        "limit_s": limit_s,
        "robot": current_robot().name,
        "policies": {
            one.name: {
                "digest": one.digest,
                "data_hash": one.data_hash,
                "rules": one.rules,
                "trials": protocol.trials,
                "code": [git_hash()],
            }
            for one in policies
        },
    }


def agree(folder: Path, now: dict[str, Any]) -> dict[str, Any]:
    """Settings of the folder with the policies of this run; they are kept there. Raises UdgError for others.

    The number of trials may differ, so that some policies have more of them; the largest is kept. So may the code: each
    policy's is listed, oldest first.
    """
    path = folder / SETTINGS_NAME
    if path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            policies: Mapping[str, Any] = before["policies"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UdgError(f"{path}: not the settings of a benchmark ({error!r}); give another --out") from error
        differ = [
            name
            for name in ("protocol", "limit_s", "robot")
            if name in before and _fixed(before[name]) != _fixed(now[name])
        ]
        differ += [name for name, one in now["policies"].items() if _fixed(policies.get(name, one)) != _fixed(one)]
        if differ:
            raise UdgError(f"{folder}: holds trials with another {', '.join(differ)}; give another --out")
        merged = {
            name: _continued(policies[name], one, folder) for name, one in now["policies"].items() if name in policies
        }
        trials = max(before["protocol"].get("trials", 0), now["protocol"]["trials"])
        now = {
            **now,
            "protocol": {**now["protocol"], "trials": trials},
            "policies": {**policies, **now["policies"], **merged},
        }
    write_atomically(path, json.dumps(now, indent=1) + "\n")
    return now


def _fixed(setting: object) -> object:
    """What two runs into one folder must have in common."""
    if not isinstance(setting, dict):
        return setting
    return {name: value for name, value in setting.items() if name not in ("trials", "code")}


def _continued(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A policy's settings after one more run."""
    code = list(before.get("code", ()))
    new = [one for one in now["code"] if one not in code]
    if code and new:
        print(f"{folder}: begun by the code of {code[0]}, continues with {new[0]}", file=sys.stderr)
    return {**now, "code": code + new, "trials": max(before.get("trials", 0), now["trials"])}


def build_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(prog="udg benchmark", description="Policies on the same trials: tables, a page.")
    parser.add_argument("--protocol", default="quick", help=f"one of {', '.join(PROTOCOLS)} (default: quick)")
    parser.add_argument("--policies", default="ours", help=f"{POLICIES_HELP} (default: ours)")
    parser.add_argument("--objects", help=f"instead of the protocol's: {OBJECTS_HELP}")
    parser.add_argument("--trials", type=int, help="of each object, instead of the protocol's")
    parser.add_argument("--rules", default="paper", help=f"{', '.join(RULES)}, or both with a comma (default: paper)")
    parser.add_argument("--out", type=user_path, required=True, help="folder; the same command resumes it")
    add_workers(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        help="time limit per trial, policy set-up included [s] (default: 600)",
    )
    parser.add_argument(
        "--films",
        type=int,
        default=2,
        help="number of failed trials of each policy to film, causes in turn (default: 2)",
    )
    return parser


def _rules(text: str) -> list[str]:
    """Names of rules of a comma-separated text. Raises UdgError."""
    names = list(dict.fromkeys(word.strip() for word in text.split(",")))
    for name in names:
        rules_of(name)
    return names


def run(arguments: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    options = build_parser().parse_args(arguments)
    if options.timeout <= 0 or options.films < 0 or (options.workers is not None and options.workers < 1):
        raise UdgError("--timeout must be positive, --workers at least 1, --films at least 0")
    protocol = protocol_of(options.protocol)
    changes = {name: getattr(options, name) for name in ("objects", "trials") if getattr(options, name) is not None}
    protocol = replace(protocol, **changes)
    config = RolloutConfig(whole_images=False, end_decided=True)
    policies = [one.under(rules) for rules in _rules(options.rules) for one in entrants(options.policies)]
    check_folder(options.out)
    tasks = tasks_of(protocol, policies, ObjectLibrary())
    with one_writer(options.out):
        _measure(options, policies, config, tasks, settings(protocol, policies, config.limit_s))


def _measure(
    options: argparse.Namespace,
    policies: Sequence[Entrant],
    config: RolloutConfig,
    tasks: Sequence[Task],
    now: dict[str, Any],
) -> None:
    """Do what is missing in the folder, then write its tables and its page."""
    rows = Rows(options.out)
    waits = {task.key.policy for task in tasks if task.key not in rows}
    for name, one in now["policies"].items():
        if name not in waits:
            one["code"] = []  # no trial is done by it
    told = agree(options.out, now)
    say_if_not_writable()
    start = partial(BenchmarkWorker, {one.name: one for one in policies}, config)
    pool = open_pool(start, options.workers, options.timeout)
    try:
        cost, said = run_tasks(tasks, rows, pool)
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command continues with what is in {options.out}", file=sys.stderr)
        raise
    finally:
        pool.close()
    for line, count in said.items():
        print(f"{count} x {line}", file=sys.stderr)
    done = rows.finish()
    write_report(options.out, done, told)
    film = partial(films, options.out, done, policies, config, options.films, options.workers, options.timeout)
    _illustrate(options.out, done, told, film)
    print(f"page: {options.out / 'index.html'}")
    if done and not judged(done):
        raise UdgError(f"{options.out}: no trial could be run; the first one: {done[0].note}")
    print(json.dumps({**summary(done), "cpu_s_per_trial": cost.per_trial()}))


def _illustrate(folder: Path, done: Sequence[Row], told: Mapping[str, Any], film: Callable[[], dict[str, str]]) -> None:
    """The page again, with pictures and films; what cannot be drawn is said, and the tables stay."""
    try:
        write_report(folder, done, told, object_pictures(done, ObjectLibrary()), film())
    except Exception as error:  # a policy's own code, an object that is gone
        print(f"{folder}: page without pictures: {type(error).__name__}: {error}", file=sys.stderr)


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
