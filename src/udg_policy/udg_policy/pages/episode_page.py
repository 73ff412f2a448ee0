"""A web page that plays an episode with a policy's attention and predictions: one file that needs no network.

udg episode-page --checkpoint FOLDER --data DATASET --episode cylinder-60_000040 --out out/pages
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from udg_description.clock import STEP_S
from udg_description.cloud_labels import LABEL_SEEN
from udg_description.errors import cli
from udg_description.files import check_folder, user_path, write_atomically
from udg_description.layout import SIDES
from udg_description.shapes import merge_capsules
from udg_description.transforms import matrix_to_quat_wxyz
from udg_description.urdf import Primitive
from udg_policy.action_spaces import ActionSpace, Kind
from udg_policy.config import PolicyConfig
from udg_policy.episodes.dataset import EpisodeDataset, read_episode
from udg_policy.episodes.episode import Episode
from udg_policy.episodes.episode_file import METRE
from udg_policy.episodes.grasp import KEY_POINTS, grasp_lines
from udg_policy.errors import DatasetError
from udg_policy.hands.fingertips import fingertip_paths
from udg_policy.hands.ghosts import SIDE_RGB, STILL_M, Hull, hand_hulls, hand_poses
from udg_policy.hands.hand_surface import N_SURFACE_TOKENS
from udg_policy.hands.poses import robot_model
from udg_policy.network.checkpoint import WEIGHTS_NAME, Checkpoint, load_checkpoint
from udg_policy.pages.episode_view import EpisodeView, view_episode

MAX_BYTES = 9_000_000  # of the page; longer episodes are thinned out
_BYTES_OF_REST = 350_000  # of the page without its frames
_BASE64 = 4.0 / 3.0
_CHARTS = 4
_QUAT_UNITS = 32767
_KINDS = {"int16": "i2", "uint8": "u1", "float32": "f4", "uint32": "u4"}


def find_episode(data: Path, name: str) -> tuple[Episode, str]:
    """An episode of a dataset (its first one if `name` is empty) or of a file, and its name. Raises DatasetError."""
    if data.is_file():
        return read_episode(data), data.stem.removeprefix("episode_")
    dataset = EpisodeDataset(data)
    names = [path.stem.removeprefix("episode_") for path in dataset.paths]
    wanted = name.removesuffix(".h5").removeprefix("episode_") or names[0]
    if wanted not in names:
        raise DatasetError(f"{data}: has no episode {name!r}; it has {len(names)}, among them {', '.join(names[:5])}")
    return dataset[names.index(wanted)], wanted


def write_page(checkpoint: Checkpoint, episode: Episode, name: str, path: Path) -> EpisodeView:
    """Write the page of an episode; what it shows is returned."""
    every = math.ceil(len(episode) * _bytes_of_frame(checkpoint.config, episode) / (MAX_BYTES - _BYTES_OF_REST))
    view = view_episode(checkpoint, episode, every)
    data = page_data(view, checkpoint, name, every)
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    template = (files("udg_policy") / "data" / "episode_viewer.html").read_text(encoding="utf-8")
    scene = (files("udg_description") / "data" / "page3d.js").read_text(encoding="utf-8")
    page = template.replace("__TITLE__", html.escape(str(data["title"]))).replace("/*PAGE3D*/", scene)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.replace("/*DATA*/null", text).encode())
    return view


def _bytes_of_frame(config: PolicyConfig, episode: Episode) -> float:
    """About the size of a frame on the page [bytes]."""
    decoder, encoder = config.decoder, config.encoder
    tokens = encoder.centres_2[0] + 2 * encoder.centres_2[1] + 1 + len(SIDES) + decoder.chunk
    tokens += N_SURFACE_TOKENS if config.observation.hand_surface else 0
    attention = decoder.layers * decoder.heads * decoder.chunk * tokens
    action = config.space.size * (4 * 4 + 4 * 2)  # mu, sigma, mode, demonstrated; quantiles
    hands = 2 * 7 * 2 * len(hand_hulls("left").links)
    cloud = 7 * episode.cloud_xyz.shape[1]
    return _BASE64 * (attention + decoder.chunk * (action + hands) + cloud + 7 * tokens + 2 * hands)


def page_data(view: EpisodeView, checkpoint: Checkpoint, name: str, every: int) -> dict[str, Any]:
    """What the page needs, ready for JSON."""
    episode, steps = view.episode, view.steps
    frames, length = view.chunks.shape[:2]
    cloud = episode.cloud_xyz[steps]
    seen = cloud[0][episode.cloud_label[steps[0]] == LABEL_SEEN]
    model = robot_model()
    links = [link for link in model.link_names if model.geometry(link)]
    drawn = np.flatnonzero([link in links for link in model.link_names])
    robot = np.stack([model.link_pose_array(q)[drawn] for q in episode.q[steps]])
    tips = np.stack([fingertip_paths(chunk) for chunk in view.chunks])  # (F, 2, 5, K, 3)
    travel = np.linalg.norm(tips - tips[..., :1, :], axis=-1).max(axis=(2, 3))
    targets = episode.target[steps].astype(np.float64)
    meta = episode.meta
    facts = [str(meta[key]) for key in ("object", "strategy") if key in meta]
    facts += ["and ".join(f"{side} hand " for side in meta["sides"]).strip()] if "sides" in meta else []
    return {
        "title": f"{name}: {checkpoint.config.name} policy",
        "subtitle": ", ".join([*facts, f"{frames} frames" + (f", one in {every} is shown" if every > 1 else "")]),
        "frames": frames,
        "steps": length,
        "layers": view.attention.shape[1],
        "heads": view.attention.shape[2],
        "point_tokens": view.tokens_world.shape[1],
        "all_tokens": view.attention.shape[-1],
        "points": cloud.shape[1],
        "metre": METRE,
        "step_s": STEP_S,
        "every": every,
        "has_state_token": view.has_state_token,
        "grasp_tokens": len(SIDES) if view.grasps else 0,
        "surface_tokens": N_SURFACE_TOKENS if checkpoint.config.observation.hand_surface else 0,
        "centre": [*seen.mean(axis=0)[:2].tolist(), 0.12],
        "distance": 1.15,
        "reach": _reach(view.tokens_world[0]),
        "side_rgb": [SIDE_RGB[side] for side in SIDES],
        "times": (steps * STEP_S).round(3).tolist(),
        "stages": episode.stage[steps].tolist(),
        "tip_errors_mm": (1e3 * view.tip_errors_m).round(2).tolist(),
        "moving": (travel > STILL_M).tolist(),
        "cloud": _lengths(cloud),
        "labels": _packed(episode.cloud_label[steps]),
        "tokens": _lengths(view.tokens_world),
        "token_labels": _packed(view.token_labels),
        "attention": _packed(np.rint(255.0 * np.sqrt(np.clip(view.attention, 0.0, 1.0))).astype(np.uint8)),
        "robot": [[_primitive(shape) for shape in merge_capsules(model.geometry(link))] for link in links],
        "robot_poses": _poses(robot),
        "hands": [[_hull(hull) for hull in hand_hulls(side).hulls] for side in SIDES],
        "hand_poses": _poses(_both_hands(view.chunks.reshape(-1, view.chunks.shape[-1]))),
        "true_hand_poses": _poses(_both_hands(targets)),
        "tips": _lengths(tips.transpose(0, 3, 1, 2, 4)),
        "true_tips": _lengths(fingertip_paths(targets).transpose(2, 0, 1, 3)),
        "action_names": view.action_names,
        "default_charts": _liveliest(view, checkpoint.config.space),
        "lower": _packed(view.lower.astype(np.float32)),
        "upper": _packed(view.upper.astype(np.float32)),
        "actual": _packed(view.demonstrated.astype(np.float32)),
        "mode": _packed(view.mode.astype(np.float32)),
        "mu": _packed(view.mu.astype(np.float32)),
        "sigma": None if view.sigma is None else _packed(view.sigma.astype(np.float32)),
        "grasp": _grasp(view),
        "quantiles": None if view.quantiles is None else _packed(_normalised(view, view.quantiles)),
    }


def _grasp(view: EpisodeView) -> dict[str, Any] | None:
    """The predicted grasp of each frame beside the demonstrated one; None for a network that predicts none."""
    if not view.grasps:
        return None
    nothing = np.zeros((len(SIDES), len(KEY_POINTS), 3))
    label = view.demonstrated_grasp
    texts = []
    for frame, grasp in enumerate(view.grasps):
        if grasp is None:
            texts.append("none")
            continue
        hands = ", ".join(f"{side} hand {100.0 * share:.0f} %" for side, share in zip(SIDES, grasp.acting, strict=True))
        error_m = view.grasp_error_m(frame)
        apart = "" if error_m is None else f"; key points {1e3 * error_m:.1f} mm off the demonstrated grasp"
        texts.append(f"{grasp.strategy.replace('_', ' ')} {100.0 * grasp.strategies.max():.0f} %, {hands}{apart}")
    return {
        "points": _lengths(np.stack([nothing if one is None else one.points_world for one in view.grasps])),
        "acts": [[False, False] if one is None else one.acts.tolist() for one in view.grasps],
        "texts": texts,
        "lines": grasp_lines(),
        "key_points": len(KEY_POINTS),
        "true": None if label is None else _lengths(label.points_world),
        "true_acts": [False, False] if label is None else label.acting.tolist(),
        "until": -1 if label is None else int(np.count_nonzero(view.steps <= label.closed)) - 1,  # frame
    }


def _reach(tokens_world: np.ndarray) -> float:
    """About half the usual distance [m] between neighbouring tokens (T, 3): how far one colours the cloud."""
    apart, _ = cKDTree(tokens_world).query(tokens_world, k=2)
    return float(np.clip(0.6 * np.median(apart[:, 1]), 0.004, 0.03))


def _liveliest(view: EpisodeView, space: ActionSpace) -> list[int]:
    """The actions to show first: those of the arms and of the fingers that the demonstration moves most."""
    spread = (view.demonstrated / (view.upper - view.lower)).std(axis=(0, 1))
    is_hand = np.isin(np.arange(len(spread)), space.columns(Kind.HAND_JOINTS))
    chosen = [np.argsort(np.where(part, -spread, 0.0), kind="stable")[: _CHARTS // 2] for part in (~is_hand, is_hand)]
    return np.concatenate(chosen).tolist()


def _normalised(view: EpisodeView, actions: np.ndarray) -> np.ndarray:
    share = 2.0 * (actions - view.lower) / (view.upper - view.lower) - 1.0
    return np.rint(_QUAT_UNITS * np.clip(share, -1.0, 1.0)).astype(np.int16)


def _both_hands(targets: np.ndarray) -> np.ndarray:
    """T_world_link (M, 2, L, 4, 4) of the hands at joint targets (M, 36)."""
    poses = hand_poses(targets)
    return np.stack([poses[side] for side in SIDES], axis=1)


def _hull(hull: Hull) -> dict[str, Any]:
    return {"vertices": _packed(hull.vertices.astype(np.float32)), "faces": _packed(hull.faces.astype(np.uint32))}


def _primitive(shape: Primitive) -> dict[str, Any]:
    return {"kind": shape.kind, "size": list(shape.size), "pose": shape.T_link_shape[:3].round(6).tolist()}


def _poses(T: np.ndarray) -> dict[str, str]:
    """Positions [1/METRE m] and quaternions (w, x, y, z) of poses (..., 4, 4)."""
    quats = np.rint(_QUAT_UNITS * matrix_to_quat_wxyz(T[..., :3, :3]))
    return _packed(np.concatenate([_units(T[..., :3, 3]), quats], axis=-1).astype(np.int16))


def _units(lengths_m: np.ndarray) -> np.ndarray:
    limit = np.iinfo(np.int16).max
    return np.clip(np.rint(METRE * lengths_m), -limit, limit)


def _lengths(lengths_m: np.ndarray) -> dict[str, str]:
    return _packed(_units(lengths_m).astype(np.int16))


def _packed(array: np.ndarray) -> dict[str, str]:
    data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
    return {"kind": _KINDS[array.dtype.name], "data": data}


def run(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="A web page that plays an episode as a policy sees it.")
    parser.add_argument("--checkpoint", type=user_path, required=True, help="folder of the checkpoint")
    parser.add_argument("--data", type=user_path, required=True, help="dataset, or one episode's file")
    parser.add_argument("--episode", default="", help="name of the episode (default: the first)")
    parser.add_argument("--out", type=user_path, default=Path("out/pages"), help="folder (default: out/pages)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    check_folder(options.out)
    checkpoint = load_checkpoint(options.checkpoint)
    episode, name = find_episode(options.data, options.episode)
    weights = hashlib.sha256((options.checkpoint / WEIGHTS_NAME).read_bytes()).hexdigest()[:8]
    path = options.out / f"{name}_{checkpoint.config.name}_{weights}.html"
    view = write_page(checkpoint, episode, name, path)
    first, last = (1e3 * view.tip_errors_m[:, k].mean() for k in (0, -1))
    print(
        f"{path}: {len(view.steps)} frames, {path.stat().st_size / 1e6:.1f} MB; fingertips off the demonstration: "
        f"{first:.1f} mm at the first step of a chunk, {last:.1f} mm at the last"
    )


def main() -> None:
    """Entry point."""
    cli(run)


if __name__ == "__main__":
    main()
