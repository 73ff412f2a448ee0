"""What a dataset holds: `udg data-info --data FOLDER [--verify] [--replay NAME]` (make data-info).

Counts, success by size and by strategy, reasons of failure, statistics of the frames, and pictures of episodes.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from udg_datagen.demonstrations.demonstration import UNPLANNED
from udg_datagen.demonstrations.demos import SETTINGS_NAME
from udg_datagen.demonstrations.episode_picture import EpisodeRenderer
from udg_description.cloud_labels import LABEL_SEEN
from udg_description.errors import UdgError, cli
from udg_description.files import check_folder, user_path, write_atomically
from udg_description.layout import N_JOINTS, SIDES, part_indices
from udg_policy.episodes.dataset import Episode, EpisodeDataset
from udg_policy.episodes.episode_file import content_hash
from udg_policy.errors import DatasetError
from udg_sim.cameras.video import contact_sheet, write_png

ATTEMPTS_FOLDER = "attempts"
UNKNOWN = "unknown"
_STATISTICS_EPISODES = 200
_SHEET_COLUMNS = 4


def read_accounts(folder: Path) -> list[dict[str, Any]]:
    """The accounts of all attempts that the factory left. Raises UdgError for one that is not readable."""
    accounts = []
    for path in sorted((folder / ATTEMPTS_FOLDER).glob("*.json")):
        try:
            accounts.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise UdgError(f"{path}: not a readable account of an attempt: {error}") from error
    return accounts


def was_executed(account: dict[str, Any]) -> bool:
    """Whether an attempt came to a motion; reasons that begin with `no_` mean that there was no plan."""
    return bool(account.get("executed", not str(account["result"]).startswith("no_")))


def group(accounts: Iterable[dict[str, Any]], key: str) -> dict[str, dict[str, Any]]:
    """Attempts, executed ones, successes and their rate, by a value of the accounts."""
    rows: dict[str, dict[str, Any]] = {}
    for account in accounts:
        row = rows.setdefault(str(account.get(key, UNKNOWN)), {"attempted": 0, "executed": 0, "successes": 0})
        row["attempted"] += 1
        row["executed"] += was_executed(account)
        row["successes"] += account["result"] == "success"
    for row in rows.values():
        row["success_rate"] = round(row["successes"] / row["executed"], 4) if row["executed"] else None
    return dict(sorted(rows.items()))


def summarise_attempts(accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of attempts; success rates are those of executed attempts."""
    executed = sum(was_executed(a) for a in accounts)
    successes = sum(a["result"] == "success" for a in accounts)
    unplanned = sum(a["result"] in UNPLANNED for a in accounts)  # as `make demos` counts; the rest: no_rest, ...
    return {
        "attempted": len(accounts),
        "executed": executed,
        "successes": successes,
        "success_rate": round(successes / executed, 4) if executed else None,
        "unplanned_share": round(unplanned / len(accounts), 4) if accounts else None,
        "not_tried_share": round(1.0 - (executed + unplanned) / len(accounts), 4) if accounts else None,
        "by_size": group(accounts, "size_class"),
        "by_strategy": group(accounts, "strategy"),
        "by_noisy": group(accounts, "noisy"),
        "reasons": dict(Counter(str(a["result"]) for a in accounts if a["result"] != "success").most_common()),
    }


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most))})


def frame_statistics(episodes: Iterable[Episode]) -> dict[str, Any]:
    """Seen points a frame, height of the lift, tracking error, following error of the fingers, frames by stage."""
    fingers = np.concatenate([np.arange(N_JOINTS)[part_indices(f"{side}_hand")] for side in SIDES])
    seen, raised, errors, stages = [], [], [], Counter[int]()
    pressed: dict[int, list[float]] = {}
    for episode in episodes:
        seen.append((episode.cloud_label == LABEL_SEEN).sum(axis=1))
        errors.append(np.abs(episode.q[1:] - episode.target[:-1]).mean() if len(episode) > 1 else 0.0)
        stages.update(episode.stage.tolist())
        following = np.abs(episode.q[1:] - episode.target[:-1])[:, fingers].max(axis=1)
        for stage, error in zip(episode.stage[1:].tolist(), following.tolist(), strict=True):
            pressed.setdefault(stage, []).append(error)
        if episode.T_world_object is not None:
            raised.append(float(episode.T_world_object[-1, 2, 3] - episode.T_world_object[0, 2, 3]))
    points = np.concatenate(seen)
    medians = {str(stage): round(float(np.median(values)), 3) for stage, values in sorted(pressed.items())}
    return {
        "seen_points": {"least": int(points.min()), "median": int(np.median(points)), "most": int(points.max())},
        "frames_without_seen_points": int((points == 0).sum()),
        "raised_m": {"least": round(min(raised), 3), "median": round(float(np.median(raised)), 3)} if raised else None,
        "tracking_error_rad": round(float(np.mean(errors)), 4),
        "following_error_of_fingers_rad": medians,  # of the finger that is farthest behind its last target, by stage
        "frames_by_stage": {str(k): v for k, v in sorted(stages.items())},
    }


def verify_fully(dataset: EpisodeDataset) -> dict[Path, str]:
    """Unpack every episode and check all checksums and content hashes; what is wrong, by path."""
    wrong: dict[Path, str] = {}
    for index, path in enumerate(tqdm(dataset.paths, desc="verify", unit="episode")):
        try:
            if content_hash(dataset[index]) != dataset.header(index).content:
                wrong[path] = f"{path}: corrupt: its content hash is wrong"
        except DatasetError as error:
            wrong[path] = str(error)
    return wrong


def summarise(dataset: EpisodeDataset) -> dict[str, Any]:
    """Everything about the sound episodes of a dataset that does not need pictures."""
    metas = [dataset.meta(i) for i in range(len(dataset))]
    lengths = [dataset.header(i).frames for i in range(len(dataset))]
    sizes: dict[str, str] = {str(m.get("object")): str(m.get("size_class", UNKNOWN)) for m in metas}
    accounts = [{"size_class": sizes.get(str(a.get("object")), UNKNOWN), **a} for a in read_accounts(dataset.folder)]
    size = dataset.bytes
    return {
        "episodes": len(dataset),
        "frames": sum(lengths),
        "objects": len(sizes),
        "frames_of_an_episode": {"least": min(lengths), "median": float(np.median(lengths)), "most": max(lengths)},
        "bytes_a_frame": round(size / sum(lengths)),
        "megabytes": round(size / 1e6, 1),
        "hash": dataset.hash(),
        "episodes_by_size": _counts(m.get("size_class", UNKNOWN) for m in metas),
        "episodes_by_strategy": _counts(m.get("strategy", UNKNOWN) for m in metas),
        "episodes_by_sides": _counts("+".join(m.get("sides", [UNKNOWN])) for m in metas),
        "episodes_noisy": sum(bool(m.get("noisy")) for m in metas),
        "attempts": summarise_attempts(accounts),
        "statistics": frame_statistics(dataset[i] for i in spread(len(dataset), _STATISTICS_EPISODES)),
    }


def write_manifest(dataset: EpisodeDataset, summary: dict[str, Any], prefix: Path) -> list[str]:
    """What is kept of a data set beside the checkpoint trained on it: PREFIX.json and PREFIX_episodes.csv; their paths.

    The summary and the settings it was made with; for each episode its content's SHA-256, the first 16 digits.
    """
    try:
        settings = json.loads((dataset.folder / SETTINGS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = None  # made elsewhere
    lines = ["episode,size,strategy,hands,noisy,moment,frames,content_sha256_start"]
    for index, path in enumerate(dataset.paths):
        meta, header = dataset.meta(index), dataset.header(index)
        values = (
            path.stem.removeprefix("episode_"),
            meta.get("size_class", UNKNOWN),
            meta.get("strategy", UNKNOWN),
            "+".join(meta.get("sides", [UNKNOWN])),
            int(bool(meta.get("noisy"))),
            meta.get("correction", {}).get("moment", ""),
            header.frames,
            header.content[:16],
        )
        lines.append(",".join(map(str, values)))
    description = {key: value for key, value in summary.items() if key != "pictures"} | {"config": settings}
    paths = prefix.with_name(f"{prefix.name}.json"), prefix.with_name(f"{prefix.name}_episodes.csv")
    for path, text in zip(paths, (json.dumps(description, indent=1), "\n".join(lines)), strict=True):
        write_atomically(path, (text + "\n").encode())
    return [str(path) for path in paths]


def _counts(values: Iterable[object]) -> dict[str, int]:
    return dict(sorted(Counter(str(v) for v in values).items()))


def draw(dataset: EpisodeDataset, out: Path, pictures: int, replay: Path | None) -> dict[str, str]:
    """Contact sheet of the last steps of some episodes and, if asked, the video of one; their paths."""
    out.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, str] = {}
    if pictures:
        renderer = EpisodeRenderer(width=320, height=260)
        chosen = [dataset[i] for i in spread(len(dataset), pictures)]
        write_png(out / "episodes.png", contact_sheet([renderer.tile(e, len(e) - 1) for e in chosen], _SHEET_COLUMNS))
        drawn["contact_sheet"] = str(out / "episodes.png")
    if replay is not None:
        EpisodeRenderer().replay(dataset[dataset.paths.index(replay)], out / f"{replay.stem}.mp4")
        drawn["replay"] = str(out / f"{replay.stem}.mp4")
    return drawn


def find_episode(dataset: EpisodeDataset, name: str) -> Path | None:
    """The file of the episode called `name`: `none`, `first`, or a file name, with or without `episode_` and suffix."""
    if name == "none":
        return None
    if name == "first":
        return dataset.paths[0]
    stem = "episode_" + Path(name).stem.removeprefix("episode_")
    for path in dataset.paths:
        if path.stem == stem:
            return path
    raise UdgError(
        f"--replay {name}: no such episode in {dataset.folder}; valid are none, first, {dataset.paths[0].stem}, ..."
    )


def _print_table(title: str, rows: dict[str, dict[str, Any]]) -> None:
    if not rows:
        return
    print(f"{title:<16}{'attempted':>10}{'executed':>10}{'success':>10}{'rate':>8}")
    for name, row in rows.items():
        rate = "-" if row["success_rate"] is None else f"{100.0 * row['success_rate']:.1f} %"
        print(f"  {name:<14}{row['attempted']:>10}{row['executed']:>10}{row['successes']:>10}{rate:>8}")


def print_summary(summary: dict[str, Any]) -> None:
    """The summary for people."""
    length, attempts = summary["frames_of_an_episode"], summary["attempts"]
    print(
        f"{summary['episodes']} episodes of {summary['objects']} objects, {summary['frames']} frames "
        f"({length['least']} to {length['most']} an episode), {summary['megabytes']} MB, "
        f"{summary['bytes_a_frame']} bytes a frame"
    )
    for key in ("size", "strategy", "sides"):
        print(f"  by {key}: " + ", ".join(f"{k} {v}" for k, v in summary[f"episodes_by_{key}"].items()))
    if attempts["attempted"]:
        _print_table("by size", attempts["by_size"])
        _print_table("by strategy", attempts["by_strategy"])
        print("reasons of failure: " + (", ".join(f"{k} {v}" for k, v in attempts["reasons"].items()) or "none"))
    for name, value in summary["statistics"].items():
        print(f"  {name}: {value}")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="udg data-info", description="Tell what a dataset holds.")
    parser.add_argument("--data", type=user_path, required=True, help="folder of the dataset")
    parser.add_argument("--verify", action="store_true", help="unpack all episodes and check every checksum and hash")
    parser.add_argument("--out", type=user_path, help="folder for the pictures (default: info/ inside the dataset)")
    parser.add_argument("--pictures", type=int, default=12, help="episodes on the contact sheet; 0: none (default: 12)")
    parser.add_argument(
        "--replay", default="first", help="episode to make a video of: a name, first or none (default: first)"
    )
    parser.add_argument(
        "--manifest",
        type=user_path,
        metavar="PREFIX",
        help="write PREFIX.json and PREFIX_episodes.csv, to keep beside a checkpoint: summary, settings, hashes",
    )
    return parser


def run(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 1 if episodes are corrupt."""
    options = build_parser().parse_args(arguments)
    if options.pictures < 0:
        raise UdgError(f"--pictures {options.pictures}: valid is 0 or more")
    wrong = verify_fully(EpisodeDataset(options.data)) if options.verify else {}
    dataset = EpisodeDataset(options.data, skip_corrupt=True)
    corrupt = {**dataset.skipped, **wrong}
    replay = find_episode(dataset, options.replay)
    pictures = check_folder(options.out or options.data / "info")
    summary = summarise(dataset)
    print_summary(summary)
    for why in corrupt.values():
        print(f"skipped: {why}")
    summary["corrupt"] = sorted(path.name for path in corrupt)
    summary["verified"] = bool(options.verify)
    summary["pictures"] = draw(dataset, pictures, options.pictures, replay)
    if options.manifest is not None:
        check_folder(options.manifest.parent).mkdir(parents=True, exist_ok=True)
        summary["manifest"] = write_manifest(dataset, summary, options.manifest)
    print(json.dumps(summary))
    return 1 if corrupt else 0


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
