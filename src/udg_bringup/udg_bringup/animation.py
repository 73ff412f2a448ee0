"""Recorded trials as one animated picture (WebP or GIF), for a page that is read before anything is installed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from udg_bringup.view.recordings import read_trial
from udg_description.clock import STEP_S
from udg_description.errors import UdgError, cli
from udg_description.files import atomic_path, user_path
from udg_sim.cameras.sapien_renderer import SapienRenderer
from udg_sim.cameras.video import SceneRenderer, Viewpoint, captioned
from udg_sim.objects.library import ObjectLibrary
from udg_sim.trials.status import TrialStatus

FORMATS = {".webp": "WEBP", ".gif": "GIF"}
STANDS_S = 1.2  # that the outcome is shown
SPEED = 2.0  # times as fast as it was
QUALITY = 70  # of WebP
RENDERERS = {"cast": SceneRenderer, "sapien": SapienRenderer}
EYE, TARGET, FOV_DEG = (1.8, 0.75, 0.9), (0.36, 0.0, 0.27), 36.0


class AnimationError(UdgError):
    """An animation that can't be made."""


def frames_of(
    statuses: Sequence[TrialStatus], renderer: SceneRenderer | SapienRenderer, library: ObjectLibrary
) -> list[np.ndarray]:
    """Pictures (H, W, 3) of a trial, one a tick, captioned."""
    model = library.get(statuses[0].object)
    return [
        captioned(
            renderer.render(np.array(status.q), [(model, np.array(status.T_world_object))]),
            f"{status.object}  {status.time_s:4.1f} s" + ("  lifted" if status.success else ""),
        )
        for status in statuses
    ]


def write(path: Path, trials: Sequence[Sequence[np.ndarray]], speed: float = SPEED) -> None:
    """Write the trials one after the other, for ever again. Raises AnimationError for another suffix."""
    if path.suffix not in FORMATS:
        raise AnimationError(f"{path}: valid: {', '.join(FORMATS)}")
    pictures = [Image.fromarray(frame) for frames in trials for frame in frames]
    durations_ms = [
        round(1000.0 * (STANDS_S if frame is frames[-1] else STEP_S / speed)) for frames in trials for frame in frames
    ]
    options = {"quality": QUALITY, "method": 6} if path.suffix == ".webp" else {"optimize": True}
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary,
            FORMATS[path.suffix],
            save_all=True,
            append_images=pictures[1:],
            duration=durations_ms,
            loop=0,
            **options,
        )


def main() -> None:
    """Make an animated picture of recorded trials (those of `make sim`)."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("trials", nargs="+", type=user_path, help="records of trials: out/sim/trials/*.jsonl")
    parser.add_argument("--out", type=user_path, default=Path("out/trials.webp"), help="picture: .webp or .gif")
    parser.add_argument("--width", type=int, default=560, help="px; the height is three quarters (default: 560)")
    parser.add_argument("--speed", type=float, default=SPEED, help=f"playback speed (default: {SPEED:g})")
    parser.add_argument("--every", type=int, default=1, help="draw every n-th tick, for a smaller file (default: 1)")
    parser.add_argument("--renderer", choices=RENDERERS, default="cast", help="cast: rays, on the CPU; sapien: Vulkan")
    options = parser.parse_args()
    if options.out.suffix not in FORMATS:  # before minutes of drawing
        raise AnimationError(f"{options.out}: valid: {', '.join(FORMATS)}")
    if options.every < 1 or not options.speed > 0.0:
        raise AnimationError(f"--every {options.every} --speed {options.speed}; valid: 1 or more, above 0")
    view = Viewpoint(eye=EYE, target=TARGET, fov_deg=FOV_DEG, width=options.width, height=options.width * 3 // 4)
    renderer, library = RENDERERS[options.renderer](view), ObjectLibrary()
    trials = []
    for path in options.trials:
        statuses = read_trial(path)
        trials.append(frames_of([*statuses[: -1 : options.every], statuses[-1]], renderer, library))
    write(options.out, trials, options.speed / options.every)
    print(f"{options.out}: {sum(map(len, trials))} frames, {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
