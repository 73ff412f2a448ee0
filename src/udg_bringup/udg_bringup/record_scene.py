"""Recordings (.mkv) of the simulated scene as two Azure Kinects would make them, for playback in place of cameras.

udg record-scene FOLDER --object soda_can --seed 0 --frames 30
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from udg_description.camera import CameraModel, default_cameras, read_cameras
from udg_description.errors import cli
from udg_description.files import check_file, user_path
from udg_description.layout import HOME_Q, SIDES
from udg_perception.kinect.recording import FRAME_RATES, DepthRecording
from udg_sim.cameras.depth import DepthRig
from udg_sim.cameras.noise import KinectNoise
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.trials.trial import sample_placement


def record_scene(
    folder: Path,
    cameras: Sequence[CameraModel],
    objects: Sequence[tuple[ObjectModel, np.ndarray]],
    q: np.ndarray,
    *,
    rate_hz: int = 15,
    noise: KinectNoise | None = None,
    seed: int = 0,
) -> dict[str, Path]:
    """Write left.mkv and right.mkv of a scene that rests; q (frames, 36) [rad], objects with T_world_object (4, 4)."""
    rig = DepthRig(cameras, noise=noise, seed=seed)
    paths: dict[str, Path] = {side: folder / f"{side}.mkv" for side in SIDES}
    left, right = (DepthRecording(paths[side], camera, rate_hz) for side, camera in zip(SIDES, cameras, strict=True))
    with left, right:
        for frame, q_frame in enumerate(q):
            for recording, depth_mm in zip((left, right), rig.render(q_frame, objects), strict=True):
                recording.write(depth_mm, round(frame * 1e6 / rate_hz))
    return paths


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="Recordings of the simulated scene, to be played as cameras.")
    parser.add_argument("folder", type=user_path, help="where left.mkv and right.mkv go")
    parser.add_argument("--object", default="soda_can", help="library id; empty: an empty table")
    parser.add_argument("--seed", type=int, default=0, help="of the placement and the noise")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--rate", type=int, default=15, choices=sorted(FRAME_RATES), help="images a second")
    parser.add_argument("--cameras", type=user_path, help="cameras.yaml (default: the default cameras)")
    parser.add_argument("--no-noise", action="store_true")
    parser.add_argument("--force", action="store_true", help="replace earlier recordings")
    arguments = parser.parse_args(argv)
    for side in SIDES:
        check_file(arguments.folder / f"{side}.mkv", arguments.force)
    cameras = default_cameras() if arguments.cameras is None else read_cameras(arguments.cameras)
    objects = []
    if arguments.object:
        model = ObjectLibrary().get(arguments.object)
        objects.append((model, sample_placement(model, np.random.default_rng(arguments.seed))))
    noise = None if arguments.no_noise else KinectNoise()
    q = np.tile(HOME_Q, (arguments.frames, 1))
    paths = record_scene(
        arguments.folder, cameras, objects, q, rate_hz=arguments.rate, noise=noise, seed=arguments.seed
    )
    print("\n".join(str(path) for path in paths.values()))
    return 0


if __name__ == "__main__":
    cli(main)
