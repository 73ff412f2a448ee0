"""Recorded trials as an animated picture."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from udg_bringup.animation import AnimationError, _main, write
from udg_description.layout import HOME_Q
from udg_description.transforms import make_transform
from udg_sim.cameras import sapien_renderer
from udg_sim.cameras.sapien_renderer import RendererError
from udg_sim.trials.status import TrialStatus


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    """A trial of three ticks in which a can rises."""
    path = tmp_path / "000_soda_can.jsonl"
    lines = []
    for tick, z_m in enumerate((0.06, 0.15, 0.26)):
        status = TrialStatus(
            object="soda_can",
            seed=0,
            trial=0,
            start_s=0.0,
            time_s=0.1 * tick,
            object_z_m=z_m,
            image_sent_s=math.nan,
            tick_ms=math.nan,
            done=tick == 2,
            success=tick == 2,
            raised_m=z_m - 0.06,
            q=HOME_Q.tolist(),
            T_world_object=make_transform(np.eye(3), np.array([0.6, 0.0, z_m])).tolist(),
        )
        lines.append(status.to_json())
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_trial_becomes_a_picture_that_moves_and_ends_with_its_outcome(
    trial: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = trial.with_name(f"lift{suffix}")
    monkeypatch.setattr(sys, "argv", ["animation", str(trial), "--out", str(out), "--width", "160", "--speed", "1"])
    _main()
    with Image.open(out) as picture:
        assert picture.n_frames == 3 and picture.size == (160, 120)
        frames, durations_ms = [], []
        for index in range(3):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB"), dtype=int))
            durations_ms.append(picture.info["duration"])
    assert durations_ms == [100, 100, 1200]
    assert np.abs(frames[0] - frames[2]).max() > 50


def test_what_it_cannot_write_is_refused_before_it_draws(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["animation", str(trial), "--out", str(trial.with_suffix(".mp4"))])
    with pytest.raises(AnimationError, match=r"valid: \.webp, \.gif"):
        _main()
    with pytest.raises(AnimationError):
        write(trial.with_suffix(".png"), [[np.zeros((8, 8, 3), np.uint8)]])


def test_without_vulkan_sapiens_renderer_is_refused_in_one_line(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sapien_renderer, "vulkan_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["animation", str(trial), "--renderer", "sapien"])
    with pytest.raises(RendererError, match="no working Vulkan device"):
        _main()
