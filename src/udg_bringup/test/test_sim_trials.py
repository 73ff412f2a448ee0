"""Trials through the whole graph, composed in this process, with an untrained policy."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
pytest.importorskip("sapien", reason="needs SAPIEN")

import torch  # noqa: E402

from udg_bringup import bench_tick, sim_trials  # noqa: E402
from udg_bringup.bench_tick import BenchConfig, BenchError, bench  # noqa: E402
from udg_bringup.graph import LOCKSTEP_DEADLINE_S, SimGraphConfig, sim_graph  # noqa: E402
from udg_bringup.ros.running import GraphError, isolate, load_node, running  # noqa: E402
from udg_bringup.ros.trial_client import TrialClient, trial_client  # noqa: E402
from udg_bringup.sim_trials import TrialsConfig, TrialsError, run_trials, sizes_in_turn  # noqa: E402
from udg_description.errors import UdgError  # noqa: E402
from udg_description.files import PathError, whole_folder  # noqa: E402
from udg_policy.action_spaces import ActionBounds  # noqa: E402
from udg_policy.config import preset  # noqa: E402
from udg_policy.network.checkpoint import Checkpoint, save_checkpoint  # noqa: E402
from udg_policy.network.network import PolicyNetwork  # noqa: E402
from udg_sim.objects.library import ObjectLibrary  # noqa: E402
from udg_sim.trials.session import TrialSpec  # noqa: E402
from udg_sim.trials.status import TrialStatus  # noqa: E402

pytestmark = pytest.mark.ros
OBJECT = "cube_60"
TRIAL_S = 1.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained policy that moves every joint a little."""
    config = preset("debug")
    torch.manual_seed(0)
    shape = (config.decoder.chunk, 36)
    bounds = ActionBounds(lower=np.full(shape, -0.03, np.float32), upper=np.full(shape, 0.03, np.float32))
    weights = dict(PolicyNetwork(config).state_dict())
    made = Checkpoint(config=config, bounds=bounds, weights=weights, train_objects=(OBJECT,))
    return save_checkpoint(tmp_path_factory.mktemp("policy") / "debug", made)


def run_trial(client: TrialClient, trial: int) -> list[TrialStatus]:
    """The states of one trial at its ticks."""
    statuses: list[TrialStatus] = []

    def keep(status: TrialStatus) -> bool:
        statuses.append(status)
        return True

    spec = TrialSpec(object=OBJECT, seed=3, trial=trial)
    client.begin(spec)
    client.watch(spec, keep)
    client.end()
    return statuses


def test_the_same_trial_goes_the_same_way_to_the_last_bit(checkpoint: Path) -> None:
    isolate()
    config = SimGraphConfig(
        checkpoint=str(checkpoint),
        object=OBJECT,
        autostart=False,
        trial_time_s=TRIAL_S,
        command_deadline_s=LOCKSTEP_DEADLINE_S,
    )
    with running(sim_graph(config)) as graph, trial_client(graph) as client:
        first, other, again = (run_trial(client, trial) for trial in (0, 1, 0))
    assert [status.time_s for status in first] == pytest.approx(np.arange(11) * 0.1)
    assert [status.q for status in first] == [status.q for status in again]
    assert [status.T_world_object for status in first] == [status.T_world_object for status in again]
    assert first[0].T_world_object != other[0].T_world_object
    assert np.ptp([status.q for status in first], axis=0).max() > 0.01  # the policy moves the robot
    assert all(status.tick_ms > 0.0 for status in first[1:])


def test_a_run_leaves_film_sheet_report_and_result(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "sim"
    config = TrialsConfig(trials=2, time_limit_s=TRIAL_S, checkpoint=checkpoint, out=out)
    summary = run_trials(config)
    assert summary["trials"] == 2
    assert summary["by_object"] == {OBJECT: {"trials": 2, "successes": 0}}
    files = ["report.html", "result.json", "trials", "trials.mp4", "trials.png"]
    assert sorted(path.name for path in out.iterdir()) == files
    assert len(list((out / "trials").glob("*.jsonl"))) == 2
    assert json.loads((out / "result.json").read_text(encoding="utf-8")) == summary
    assert OBJECT in (out / "report.html").read_text(encoding="utf-8")
    before = {path.name: path.read_bytes() for path in out.rglob("*.*")}
    with pytest.raises(PathError, match="sim: is there already"):
        run_trials(config)
    assert {path.name: path.read_bytes() for path in out.rglob("*.*")} == before


def test_a_command_that_is_terminated_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    words = ["--checkpoint", str(checkpoint), "--objects", OBJECT, "--trials", "50", "--time-limit", "1"]
    words += ["--out", str(tmp_path / "sim")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-m", "udg_bringup.sim_trials", *words],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("50 trials on 1 objects")
        assert process.stdout.readline().startswith("trial 1/50")
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
        process.terminate()
        assert process.wait(timeout=60) == 143
        assert "Traceback" not in process.stderr.read()
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_second_run_gets_a_number(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Path] = []

    def run(config: TrialsConfig) -> dict[str, object]:
        with whole_folder(config.out, replace="result.json" if config.force else "") as folder:
            (folder / "result.json").write_text("{}", encoding="utf-8")
        made.append(config.out)
        return {}

    monkeypatch.setattr(sim_trials, "run_trials", run)
    for more in ([], [], ["--force"]):
        monkeypatch.setattr(sys, "argv", ["sim_trials", "--out", str(tmp_path / "sim"), *more])
        sim_trials._main()
    assert made == [tmp_path / "sim", tmp_path / "sim-2", tmp_path / "sim"]
    assert f"report: {tmp_path / 'sim-2' / 'report.html'}" in capsys.readouterr().out


def test_the_benchmark_measures_as_many_ticks_as_asked(checkpoint: Path) -> None:
    result = bench(BenchConfig(ticks=8, warm_up=2, object=OBJECT, checkpoint=checkpoint))
    assert len(result.tick_ms) == 8
    summary = result.summary()
    assert 0.0 < summary["p50_ms"] <= summary["p99_ms"] <= summary["max_ms"]
    assert set(summary["by_stage_ms"]) == {"image_to_cloud", "cloud_to_chunk", "chunk_to_command"}
    assert result.memory_bytes < 3e9


class Asked(Exception):  # noqa: N818
    """What the benchmark was asked for, in place of its work."""


def test_the_benchmark_of_the_tick_has_cameras_and_settings_as_asked(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras, settings = tmp_path / "cameras.yaml", tmp_path / "settings.yaml"
    shipped = Path(__file__).parents[3] / "config" / "cameras.yaml"
    cameras.write_text(shipped.read_text(encoding="utf-8").replace("left_camera", "top_camera"), encoding="utf-8")
    settings.write_text("control: {ros__parameters: {controller: {home_speed: 0.1}}}", encoding="utf-8")
    seen = []

    def ask(*_: object, cameras: list[str], **__: object) -> None:
        raise Asked(cameras)

    monkeypatch.setattr(bench_tick, "isolate", lambda: None)
    monkeypatch.setattr(bench_tick, "running", lambda nodes, **_: contextlib.nullcontext(seen.extend(nodes)))
    monkeypatch.setattr(bench_tick, "trial_client", ask)
    words = ["--checkpoint", checkpoint, "--camera-config", cameras, "--settings", settings]
    monkeypatch.setattr(sys, "argv", ["bench-tick", *map(str, words)])
    with pytest.raises(Asked) as asked:
        bench_tick._main()
    parameters = {node.name: node.parameters for node in seen}
    assert parameters["sim"]["camera_config"] == parameters["perception"]["camera_config"] == str(cameras)
    assert parameters["control"]["controller.home_speed"] == 0.1
    assert "top_camera" in asked.value.args[0]


def truncated(checkpoint: Path, folder: Path) -> Path:
    """A copy of the checkpoint whose weights end early."""
    folder.mkdir()
    for path in checkpoint.iterdir():
        data = path.read_bytes()
        (folder / path.name).write_bytes(data[: len(data) // 2] if path.suffix == ".safetensors" else data)
    return folder


BAD: dict[str, tuple[Callable[[Path, Path], dict[str, object]], str]] = {
    "unknown object": (lambda ck, tmp: {"objects": ("no_such_thing",)}, "no_such_thing"),
    "no such mesh": (lambda ck, tmp: {"objects": (f"{tmp}/none.obj@0.1",)}, "none.obj"),
    "mesh that is no mesh": (lambda ck, tmp: {"objects": (f"{_garbage(tmp)}@0.1",)}, "garbage.obj"),
    "no such checkpoint": (lambda ck, tmp: {"checkpoint": tmp / "none"}, "none"),
    "truncated checkpoint": (lambda ck, tmp: {"checkpoint": truncated(ck, tmp / "short")}, "short"),
}


def _garbage(folder: Path) -> Path:
    path = folder / "garbage.obj"
    path.write_bytes(bytes(range(256)))
    return path


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_one_error_that_names_it_and_leaves_no_file(case: str, checkpoint: Path, tmp_path: Path) -> None:
    make, named = BAD[case]
    out = tmp_path / "out" / "sim"
    with pytest.raises(UdgError, match=named):
        run_trials(TrialsConfig(**{"checkpoint": checkpoint, "out": out, **make(checkpoint, tmp_path)}))
    assert not out.exists()
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_bad_number_is_refused_by_name() -> None:
    with pytest.raises(TrialsError, match="--trials is 0"):
        TrialsConfig(trials=0)
    with pytest.raises(TrialsError, match="--seed is -1"):
        TrialsConfig(seed=-1)
    with pytest.raises(TrialsError, match="--time-limit"):
        TrialsConfig(time_limit_s=float("nan"))
    with pytest.raises(BenchError, match="--ticks is 0"):
        BenchConfig(ticks=0)


def test_the_command_says_error_in_one_line_and_exits_with_2(tmp_path: Path) -> None:
    words = ["--checkpoint", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "udg_bringup.sim_trials", *words], capture_output=True, text=True)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and "none" in lines[0]
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_cannot_be_loaded_is_named(checkpoint: Path) -> None:
    nodes = sim_graph(SimGraphConfig(checkpoint=str(checkpoint)))
    broken = type(nodes[0])(name="perception", package="udg_perception", executable="x", module="no.such.module")
    with pytest.raises(GraphError, match=r"perception.*no\.such\.module"):
        load_node(broken)


def test_objects_of_the_training_set_come_with_their_sizes_in_turn() -> None:
    library = ObjectLibrary()
    small, medium, large = (library.ids(split="train", size=size)[:3] for size in ("small", "medium", "large"))
    names = sorted([*small, *medium, *large[:1], "my_own_thing"])
    expected = (small[0], medium[0], large[0], small[1], medium[1], small[2], medium[2], "my_own_thing")
    assert sizes_in_turn(names, library) == expected
