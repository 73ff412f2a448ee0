"""Every command that writes, on outputs that cannot be written: one line with the path, before the work, nothing left.

Root ignores mode bits, so a folder that cannot be written is a read-only mount here; where this process may not mount,
those cases are skipped.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from udg_description.errors import UdgError, cli  # noqa: E402
from udg_description.layout import HOME_Q  # noqa: E402
from udg_perception.calibration.observations import Observation, write_observation  # noqa: E402
from udg_policy.episodes.dataset import EpisodeWriter  # noqa: E402
from udg_policy.episodes.synthetic import make_episode  # noqa: E402

LONGEST_S = 20.0  # of a refusal: none has begun to work
CHECKPOINT = Path(__file__).resolve().parents[2] / "udg_policy" / "udg_policy" / "data" / "edge"
BOX = '<collision><geometry><box size="0.08 0.08 0.02"/></geometry></collision>'
URDF = f'<robot name="h"><link name="palm">{BOX}</link></robot>'


class Inputs(NamedTuple):
    """What commands read."""

    data: Path
    old_data: Path
    urdf: Path
    observations: Path


class Command(NamedTuple):
    """A command and its arguments for an output."""

    module: str
    entry: str
    arguments: Callable[[Inputs, Path], list[str]]
    is_file: bool = False  # the output is a file, else a folder


def _describe(given: Inputs, out: Path) -> list[str]:
    frame = ["--root", "palm", "--palm-normal", "0,0,1", "--tips", "t=palm"]
    return ["--urdf", str(given.urdf), "--out", str(out), *frame]


COMMANDS = {
    "sim_trials": Command(
        "udg_bringup.sim_trials", "_main", lambda g, o: ["--trials", "1", "--objects", "cube_60", "--out", str(o)]
    ),
    "record_scene": Command("udg_bringup.record_scene", "main", lambda g, o: [str(o), "--frames", "1"]),
    "grasps": Command(
        "udg_datagen.grasps.grasps", "main", lambda g, o: ["--object", "cube_60", "--n", "4", "--out", str(o)]
    ),
    "demos": Command(
        "udg_datagen.demonstrations.demos",
        "run",
        lambda g, o: ["--objects", "cube_60", "--episodes", "1", "--out", str(o)],
    ),
    "data_info": Command(
        "udg_datagen.demonstrations.data_info", "run", lambda g, o: ["--data", str(g.data), "--out", str(o)]
    ),
    "ablations": Command(
        "udg_datagen.evaluation.ablations",
        "run",
        lambda g, o: ["--data", str(g.data), "--preset", "debug", "--out", str(o)],
    ),
    "agreement": Command(
        "udg_datagen.demonstrations.agreement", "run", lambda g, o: ["--objects", "cube_60", "--out", str(o)]
    ),
    "bench_synthesis": Command("udg_datagen.bench.bench_synthesis", "main", lambda g, o: ["--quick", "--out", str(o)]),
    "try_hand": Command("udg_datagen.grasps.try_hand", "main", lambda g, o: ["--hand", str(g.urdf), "--out", str(o)]),
    "hand": Command("udg_datagen.hands.hand", "main", _describe, is_file=True),
    "train": Command(
        "udg_policy.training.train",
        "run_command",
        lambda g, o: ["--data", str(g.data), "--preset", "debug", "--steps", "2", "--out", str(o)],
    ),
    "episode_page": Command(
        "udg_policy.pages.episode_page",
        "run",
        lambda g, o: ["--data", str(g.data), "--checkpoint", str(CHECKPOINT), "--out", str(o)],
    ),
    "dataset_export": Command(
        "udg_policy.exchange.export",
        "run_command",
        lambda g, o: ["--data", str(g.data), "--to", "lerobot", "--out", str(o / "new")],
    ),
    "convert": Command("udg_policy.episodes.convert", "run_command", lambda g, o: [str(g.old_data), str(o)]),
    "objects": Command(
        "udg_sim.preparation.objects_table", "main", lambda g, o: ["cube_60", "--picture", str(o)], is_file=True
    ),
    "prepare": Command(
        "udg_sim.preparation.objects", "main", lambda g, o: ["--objects", "cube_60", "--picture", str(o)], is_file=True
    ),
    "held_out": Command("udg_sim.preparation.held_out", "main", lambda g, o: ["--out", str(o)], is_file=True),
    "calibration": Command(
        "udg_perception.calibration.__main__",
        "main",
        lambda g, o: ["robot", str(g.observations), "--cameras", str(o)],
        is_file=True,
    ),
    "kinect_capture": Command("udg_perception.ros.kinect_capture", "main", lambda g, o: [str(o), "--poses", "1"]),
    "ur_emulator": Command(
        "udg_control.emulators.ur", "main", lambda g, o: ["--left", "127.0.0.1", "--log", str(o)], is_file=True
    ),
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    writer = EpisodeWriter(folder / "data")
    writer.write("a_000000", make_episode(0, steps=2))
    (folder / "old").mkdir()
    (folder / "old" / "episode_a.npz").write_bytes(b"none")
    (folder / "hand.urdf").write_text(URDF, encoding="utf-8")
    write_observation(folder / "poses", Observation(q=HOME_Q))
    return Inputs(folder / "data", folder / "old", folder / "hand.urdf", folder / "poses")


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A file system of its own at `place`; the test is skipped where that is not allowed."""
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"this process may not mount: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def bad_output(kind: str, tmp_path: Path, is_file: bool) -> Iterator[Path]:
    """An output that cannot be written."""
    name = "out.png" if is_file else "out"
    if kind == "file in its place":
        (tmp_path / "taken").write_text("mine", encoding="utf-8")
        yield tmp_path / "taken" / name if is_file else tmp_path / "taken"
    elif kind == "below a file":
        (tmp_path / "taken").write_text("mine", encoding="utf-8")
        yield tmp_path / "taken" / "deep" / name
    elif kind == "read-only":
        with mounted(tmp_path / "disk", "-o", "ro,size=64k") as disk:
            yield disk / name
    else:
        with mounted(tmp_path / "disk", "-o", "size=64k") as disk:
            with contextlib.suppress(OSError), open(disk / "full", "wb") as stream:
                stream.write(bytes(1 << 20))
            yield disk / name


def run(command: Command, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit code of a command that runs in this process."""
    entry = getattr(importlib.import_module(command.module), command.entry)
    monkeypatch.setattr(sys, "argv", [command.module, *arguments])
    with pytest.raises(SystemExit) as left:
        cli(entry if command.entry == "_main" else lambda: entry(arguments))
    return left.value.code


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", ["file in its place", "below a file", "read-only", "full"])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    name: str,
    kind: str,
    given: Inputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    command = COMMANDS[name]
    monkeypatch.setenv("UDG_CACHE", str(tmp_path / "cache"))
    with bad_output(kind, tmp_path, command.is_file) as out:
        before = files_below(tmp_path)
        began_s = time.monotonic()
        code = run(command, command.arguments(given, out), monkeypatch)
        took_s = time.monotonic() - began_s
        told = capfd.readouterr().err.strip().splitlines()
        left = [path for path in files_below(tmp_path) if path not in before and not path.startswith("cache")]
    assert code == 2 and took_s < LONGEST_S
    assert told and told[-1].startswith("error: ") and str(tmp_path) in told[-1]
    assert not any("Traceback" in line for line in told)
    assert left == []


class Quick(NamedTuple):
    """A command that needs a cache and does little."""

    module: str
    entry: str
    arguments: list[str]


WITHOUT_A_CACHE = {
    "objects": Quick("udg_sim.preparation.objects_table", "main", ["cube_60"]),
    "prepare": Quick("udg_sim.preparation.objects", "main", ["--objects", "cube_60"]),
    "record_scene": Quick("udg_bringup.record_scene", "main", ["OUT", "--object", "cube_60", "--frames", "1"]),
    "train": Quick(
        "udg_policy.training.train",
        "run_command",
        ["--data", "DATA", "--out", "OUT", "--preset", "debug", "--steps", "1", "--processes", "1"],
    ),
}


@pytest.mark.parametrize("kind", ["no home", "a file", "read-only", "full"])
@pytest.mark.parametrize("name", WITHOUT_A_CACHE)
def test_a_command_works_without_a_cache_and_says_so_at_most_once(
    name: str,
    kind: str,
    given: Inputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    quick = WITHOUT_A_CACHE[name]
    places = {"OUT": str(tmp_path / "out"), "DATA": str(given.data)}
    monkeypatch.delenv("UDG_CACHE_NOTE_SAID", raising=False)
    with contextlib.ExitStack() as stack:
        if kind == "no home":
            monkeypatch.delenv("UDG_CACHE", raising=False)
            monkeypatch.delenv("HOME", raising=False)
            monkeypatch.setattr("pwd.getpwuid", _nobody)
        else:
            bad = "file in its place" if kind == "a file" else kind
            monkeypatch.setenv("UDG_CACHE", str(stack.enter_context(bad_output(bad, tmp_path, is_file=False))))
        arguments = [places.get(word, word) for word in quick.arguments]
        code = run(Command(quick.module, quick.entry, lambda g, o: []), arguments, monkeypatch)
    told = capfd.readouterr().err
    assert code == 0, told
    assert told.count("note: cache") <= 1 and "Traceback" not in told and "Exception ignored" not in told
    if name != "record_scene":  # which makes nothing that is kept
        assert "note: cache" in told and "UDG_CACHE=<folder>" in told
    os.environ.pop("UDG_CACHE_NOTE_SAID", None)


def _nobody(number: int) -> object:
    raise KeyError(f"getpwuid(): uid not found: {number}")


def test_what_must_be_kept_needs_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from udg_sim.objects.user_objects import add_folder

    cube = importlib.import_module("trimesh").creation.box((0.1, 0.1, 0.1))
    (tmp_path / "meshes").mkdir()
    cube.export(tmp_path / "meshes" / "cube.obj")
    (tmp_path / "file").touch()
    monkeypatch.setenv("UDG_CACHE", str(tmp_path / "file"))
    with pytest.raises(UdgError, match="UDG_CACHE names it"):
        for added in add_folder(tmp_path / "meshes"):
            if added.error:
                raise UdgError(added.error)
