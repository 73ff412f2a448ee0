"""Does the expert agree with itself? The same scene again, and slightly changed scenes, against the choice by spread.

Repeat: a scene with other seeds of the synthesis and other starts of the robot. Continuity: the same seed, the object
moved by up to 5 mm and turned by up to 5 deg about the vertical. Compared are poses of the hands in the world.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from udg_datagen.demonstrations.agreement_picture import SCENES, draw_scenes
from udg_datagen.demonstrations.attempt import task_rng
from udg_datagen.demonstrations.demonstration import DemoConfig, starts
from udg_datagen.expert.choice import Choice
from udg_datagen.expert.expert import Expert, ExpertConfig
from udg_datagen.expert.spread import spread_choices
from udg_datagen.grasps.grasp_store import GraspStore, GraspStoreConfig
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.processes import worker_pool
from udg_description.errors import UdgError, cli
from udg_description.files import check_folder, next_free, user_path, write_atomically
from udg_description.layout import HOME_Q
from udg_description.settings import add_config, configured
from udg_description.transforms import rotation_angle, rotvec_to_matrix
from udg_sim.objects.library import SIZES, ObjectLibrary, ObjectModel
from udg_sim.objects.selection import HELP, select
from udg_sim.trials.trial import TrialError, sample_placement

MOVED_M, TURNED_DEG = 0.005, 5.0
"""Largest displacement along x and along y, and turn about z, of the object for continuity."""
METHODS = ("expert", "spread")


class Took(NamedTuple):
    """What a method chose: hand poses (H, 4, 4) in the world, joints (H, J) [rad] at the grasp."""

    strategy: str
    sides: tuple[str, ...]
    Ts_world_hand: np.ndarray
    q: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Between two choices; of the hand that differs most. Poses and joints only where the same hands act."""

    same_sides: bool
    same_strategy: bool
    position_mm: float = float("nan")
    rotation_deg: float = float("nan")
    finger_rad: float = float("nan")  # mean over the joints


@dataclass(frozen=True, kw_only=True)
class Row:
    """All of one scene and method."""

    object: str
    size_class: str
    scene: int
    method: str
    chosen: int  # of how many choices asked for
    asked: int
    repeat: tuple[Difference, ...]
    continuity: tuple[Difference, ...]


@dataclass(frozen=True)
class Job:
    """One scene for one method."""

    object: str
    scene: int
    method: str
    seeds: int
    moves: int
    config: ExpertConfig = field(default_factory=ExpertConfig)


def difference(a: Took, b: Took) -> Difference:
    """Of two choices in the world, whatever the symmetry of the object."""
    same_sides, same_strategy = a.sides == b.sides, a.strategy == b.strategy
    if not same_sides:
        return Difference(same_sides=False, same_strategy=same_strategy)
    shift = np.linalg.norm(a.Ts_world_hand[:, :3, 3] - b.Ts_world_hand[:, :3, 3], axis=1)
    turn = [float(rotation_angle(x[:3, :3], y[:3, :3])) for x, y in zip(a.Ts_world_hand, b.Ts_world_hand, strict=True)]
    return Difference(
        same_sides=True,
        same_strategy=same_strategy,
        position_mm=1e3 * float(shift.max()),
        rotation_deg=float(np.degrees(max(turn))),
        finger_rad=float(np.abs(a.q - b.q).mean(axis=1).max()),
    )


def run_job(job: Job) -> Row | None:
    """Choose again and again in one scene; None where the object finds no rest."""
    torch.set_num_threads(1)
    target = _library().get(job.object)
    rng = task_rng(job.object, job.scene)
    T_world_object = placement(target, rng)
    if T_world_object is None:
        return None
    moved = [_moved(T_world_object, rng) for _ in range(job.moves)]
    again = [_took(choose(job.method, target, T_world_object, seed, job.config)) for seed in range(job.seeds)]
    nearby = [_took(choose(job.method, target, T, 0, job.config)) for T in moved]
    found = [took for took in again if took is not None]
    pairs = [difference(a, b) for a, b in combinations(found, 2)]
    steps = [difference(again[0], took) for took in nearby if again[0] is not None and took is not None]
    return Row(
        object=job.object,
        size_class=target.size_class,
        scene=job.scene,
        method=job.method,
        chosen=len(found) + sum(took is not None for took in nearby),
        asked=job.seeds + job.moves,
        repeat=tuple(pairs),
        continuity=tuple(steps),
    )


def placement(target: ObjectModel, rng: np.random.Generator) -> np.ndarray | None:
    """T_world_object (4, 4) of a scene; None where the object finds no rest."""
    try:
        return sample_placement(target, rng, pose_index=0)
    except TrialError:
        return None


def _moved(T_world_object: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    turn = rotvec_to_matrix(np.array([0.0, 0.0, np.radians(TURNED_DEG) * rng.uniform(-1.0, 1.0)]))
    shift = np.append(MOVED_M * rng.uniform(-1.0, 1.0, 2), 0.0)
    T = T_world_object.copy()
    T[:3, :3] = turn @ T[:3, :3]
    T[:3, 3] += shift
    return T


def choose(
    method: str, target: ObjectModel, T_world_object: np.ndarray, seed: int, config: ExpertConfig
) -> Choice | None:
    """The grasp that a method takes with a seed of the synthesis; the start of "spread" is drawn with the same seed.

    "expert": `Expert`, which does not look at the start. "spread": the nearest of few that differ.
    """
    if method == "expert":
        expert = Expert(_scene(), replace(config, seed=seed))
        return next(expert.choices(target, T_world_object), None)
    start = starts(HOME_Q, DemoConfig(), np.random.default_rng(seed))
    sets = GraspStore(replace(GraspStoreConfig(), seed=seed)).get(target, 0)
    return next(spread_choices(sets, target, T_world_object, start, _scene()), None)


def _took(choice: Choice | None) -> Took | None:
    if choice is None:
        return None
    reach, grasps = choice.reach, choice.grasps
    Ts = np.stack([reach.Ts_world_hand[side] for side in reach.sides])
    return Took(grasps.strategy, reach.sides, Ts, grasps.q_grasp[reach.grasp_index])


@lru_cache(maxsize=1)
def _scene() -> CollisionScene:
    return CollisionScene()


@lru_cache(maxsize=1)
def _library() -> ObjectLibrary:
    return ObjectLibrary()


def figures(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Of rows of one method: percentiles over pairs of choices, shares of pairs with the same hands and strategy."""
    return {
        "repeat": _of_pairs([d for row in rows for d in row.repeat]),
        "continuity": _of_pairs([d for row in rows for d in row.continuity]),
        "chosen": {"share": round(sum(row.chosen for row in rows) / max(1, sum(row.asked for row in rows)), 4)},
    }


def _of_pairs(differences: Sequence[Difference]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in ("position_mm", "rotation_deg", "finger_rad"):
        values = np.array([getattr(d, name) for d in differences], dtype=float)
        values = values[np.isfinite(values)]
        for q in (50, 90):
            found[f"{name}_p{q}"] = round(float(np.percentile(values, q)), 3) if len(values) else float("nan")
    for name in ("same_sides", "same_strategy"):
        shares = [getattr(d, name) for d in differences]
        found[name] = round(float(np.mean(shares)), 4) if shares else float("nan")
    return found


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", default="test,compositions:11", help=f"{HELP}; default: test,compositions:11")
    parser.add_argument("--scenes", type=int, default=2, help="placements of each object (default: 2)")
    parser.add_argument("--scene-seed", type=int, default=0, help="of the first placement (default: 0)")
    parser.add_argument("--seeds", type=int, default=3, help="of synthesis and start (default: 3)")
    parser.add_argument("--moves", type=int, default=2, help="small displacements of the object (default: 2)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--no-before", action="store_true", help="skip the choice by spread")
    parser.add_argument("--out", type=user_path, default=Path("out/agreement"), help="folder of table and picture")
    parser.add_argument("--force", action="store_true", help="replace earlier results in --out; else numbered")
    add_config(parser, ExpertConfig(), "{tried: 5, near: {n_candidates: 128}}")
    return parser


def run(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    if min(options.scenes, options.moves, options.workers) < 1 or options.seeds < 2:
        raise UdgError("--scenes, --moves and --workers must be at least 1, --seeds at least 2")
    config = configured(options.config, ExpertConfig(), "agreement")
    objects = select(options.objects, ObjectLibrary())
    methods = METHODS[:1] if options.no_before else METHODS
    jobs = [
        Job(name, options.scene_seed + scene, method, options.seeds, options.moves, config)
        for name in objects
        for scene in range(options.scenes)
        for method in methods
    ]
    out = check_folder(options.out if options.force else next_free(options.out))
    rows = [row for row in _rows(jobs, options.workers) if row is not None]
    rows.sort(key=lambda row: (row.object, row.scene, row.method))
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
    write_atomically(out / "agreement.jsonl", lines.encode())
    _print_tables(rows)
    _draw_worst([row for row in rows if row.method == "expert"], config, out / "worst.png")
    result = figures([row for row in rows if row.method == "expert"])
    summary: dict[str, object] = {"objects": len(objects), "scenes": len(jobs) // len(methods), **result}
    if len(methods) > 1:
        summary["before"] = figures([row for row in rows if row.method == "spread"])
    print(json.dumps(summary))


def _draw_worst(rows: Sequence[Row], config: ExpertConfig, path: Path) -> None:
    """The scenes whose choices with other seeds are furthest apart; other hands or strategies count as furthest."""

    def worst(row: Row) -> float:
        return max((d.position_mm if d.same_sides and d.same_strategy else np.inf for d in row.repeat), default=0.0)

    scenes = []
    for row in sorted(rows, key=worst, reverse=True)[:SCENES]:
        target = _library().get(row.object)
        T_world_object = placement(target, task_rng(row.object, row.scene))
        assert T_world_object is not None
        scenes.append((target, T_world_object, f"{row.object}, scene {row.scene}: {worst(row):.0f} mm"))
    draw_scenes(scenes, partial(choose, "expert", config=config), path)


def _rows(jobs: Sequence[Job], workers: int) -> Iterator[Row | None]:
    bar = partial(tqdm, total=len(jobs), desc="scenes", unit="scene", file=sys.stderr, mininterval=0.5)
    if workers == 1:
        yield from bar(map(run_job, jobs))
        return
    with worker_pool(workers) as pool:
        try:
            for future in bar(as_completed([pool.submit(run_job, job) for job in jobs])):
                yield future.result()
        except BaseException:  # Ctrl-C, too: what has not begun is left
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _print_tables(rows: Sequence[Row]) -> None:
    print(
        "method  size     scenes | repeat: mm p50, p90   deg p50, p90   rad p50   sides strategy | "
        "continuity: mm p50, p90   deg p50, p90"
    )
    for method in METHODS:
        for size in (*SIZES, "all"):
            mine = [row for row in rows if row.method == method and size in ("all", row.size_class)]
            if not mine:
                continue
            result = figures(mine)
            r, c = result["repeat"], result["continuity"]
            print(
                f"{method:7s} {size:8s} {len(mine):6d} | {r['position_mm_p50']:8.1f} {r['position_mm_p90']:8.1f} "
                f"{r['rotation_deg_p50']:6.1f} {r['rotation_deg_p90']:6.1f} {r['finger_rad_p50']:8.2f} "
                f"{r['same_sides']:8.2f} {r['same_strategy']:6.2f}  | {c['position_mm_p50']:8.1f} "
                f"{c['position_mm_p90']:8.1f} {c['rotation_deg_p50']:6.1f} {c['rotation_deg_p90']:6.1f}"
            )


def main() -> None:
    cli(run)


if __name__ == "__main__":
    main()
