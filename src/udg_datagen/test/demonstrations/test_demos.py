import errno
import importlib
import json
import os
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from udg_datagen.demonstrations import demos
from udg_datagen.demonstrations.attempt import AttemptConfig, drawn_pose, task_rng
from udg_datagen.demonstrations.demos import FactoryError, Ledger, run, run_factory, summarise
from udg_datagen.demonstrations.tasks import Made, Preparation, Task, tasks_of
from udg_datagen.workers import LocalPool, Outcome, run_job
from udg_description.errors import UdgError
from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter
from udg_policy.episodes.pack import pack
from udg_policy.episodes.synthetic import make_episode
from udg_sim.objects.library import ObjectLibrary

# A worker whose episodes are made up, from (object, seed) alone; objects' names say what goes wrong.
BENCH = """
import os, signal
from pathlib import Path
import numpy as np
from udg_datagen.demonstrations.tasks import Made, Preparation
from udg_policy.episodes.episode_file import encode_episode
from udg_policy.episodes.episode import Episode

class MeshError(Exception):
    pass

def make_episode(seed):
    rng = np.random.default_rng(seed)
    return Episode(cloud_xyz=rng.random((4, 2048, 3)), cloud_label=np.zeros((4, 2048)), q=rng.random((4, 36)),
                   target=rng.random((4, 36)), stage=np.zeros(4), meta={"object": "good", "seed": seed})

class Rig:
    def __init__(self, scratch):
        self.scratch = Path(scratch)

    def once(self, what):
        try:
            (self.scratch / what).touch(exist_ok=False)
            return True
        except FileExistsError:
            return False

    def __call__(self, job):
        if isinstance(job, Preparation):
            if job.object == "broken":
                raise MeshError("mesh broken.obj: has a hole")
            return Made(account={"size_class": "small", "seconds_by_stage": {"grasps": 2.0}})
        if job.object == "kills" or (job.object == "kills_once" and self.once(f"died-{job.seed}")):
            os.kill(os.getpid(), signal.SIGKILL)
        account = {"object": job.object, "seed": job.seed, "result": "success", "frames": 0, "executed": True,
                   "seconds_by_stage": {"execute": 1.0}}
        if job.seed % 3 == 2:
            return Made(account=account | {"result": "dropped"})
        episode = make_episode(job.seed)
        return Made(account=account | {"frames": len(episode)}, episode=encode_episode(episode))

def start(scratch):
    return Rig(scratch)
"""


@pytest.fixture
def pool_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Make pools whose workers run the made-up worker."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "bench_of_test_factory.py").write_text(BENCH)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    sys.modules.pop("bench_of_test_factory", None)
    module = importlib.import_module("bench_of_test_factory")

    def make(workers: int, timeout_s: float = 120.0) -> LocalPool:
        return LocalPool(workers, partial(module.start, str(tmp_path)), timeout_s)

    return make


class InProcess:
    """A pool without processes: does a job when it is asked for the result."""

    def __init__(self, tmp_path: Path) -> None:
        namespace: dict[str, object] = {}
        exec(BENCH, namespace)
        self._run = namespace["start"](tmp_path)  # type: ignore[operator]
        self._jobs: list[tuple[object, object]] = []
        self.done: list[object] = []

    @property
    def idle(self) -> int:
        return 1 - len(self._jobs)

    @property
    def busy(self) -> int:
        return len(self._jobs)

    def submit(self, key: object, job: object) -> None:
        self._jobs.append((key, job))

    def wait(self, timeout_s: float) -> list[tuple[object, Outcome]]:
        key, job = self._jobs.pop()
        self.done.append(job)
        return [(key, run_job(self._run, job))]

    def close(self) -> None:
        pass


CONFIG = AttemptConfig()


def test_tasks_take_every_object_once_before_any_twice() -> None:
    assert tasks_of(["a", "b"], 5, 7) == [Task("a", 7), Task("b", 7), Task("a", 8), Task("b", 8), Task("a", 9)]
    assert Task("cylinder_60", 3).name == "cylinder-60_000003"  # as in the data sets there are


OBJECTS = st.one_of(
    st.sampled_from(["cylinder_60", "mug_005", "cylinder-60", "Cylinder_60", "a/x.obj@0.1", "b/x.obj@0.1"]),
    st.text(st.sampled_from("ab01_-./@ AB杯瓶ü"), min_size=1, max_size=12),
)


@settings(max_examples=200)
@given(OBJECTS, OBJECTS, st.integers(0, 2_000_000), st.integers(0, 2_000_000))
@example("杯子.obj@0.09", "瓶子.obj@0.09", 0, 0)
@example("my cup.obj@0.09", "my-cup.obj@0.09", 0, 0)
def test_no_two_tasks_share_a_file(a: str, b: str, seed_a: int, seed_b: int) -> None:
    names = {Task(a, seed_a).name.casefold(), Task(b, seed_b).name.casefold()}
    assert len(names) == (1 if (a, seed_a) == (b, seed_b) else 2)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*_[0-9]{6,}", name) for name in names)


def test_an_account_stands_for_its_own_task_alone(tmp_path: Path) -> None:
    config, mesh = AttemptConfig(), tmp_path / "cup.obj"
    mesh.write_text("one", encoding="utf-8")
    task, account = Task(f"{mesh}@0.1", 3), {"object": f"{mesh}@0.1", "seed": 3, "result": "touched", "frames": 0}
    ledger = Ledger(tmp_path / "out", config)
    ledger.write(task, Made(account=dict(account)))
    assert list(Ledger(tmp_path / "out", config).finished([task])[0]) == [task]
    mesh.write_text("another", encoding="utf-8")
    with pytest.raises(FactoryError, match="another mesh file of the same name"):
        Ledger(tmp_path / "out", config).finished([task])
    other = Task("cube_60", 3)
    ledger.write(other, Made(account=account))
    with pytest.raises(FactoryError, match=r"cube-60_000003\.json is of object .*cup\.obj@0\.1 with seed 3"):
        Ledger(tmp_path / "out", config).finished([other])


def test_tasks_are_started_in_their_order_each_after_its_preparation(tmp_path: Path) -> None:
    pool, a, b = InProcess(tmp_path), "a", "b"
    config = AttemptConfig(poses=1)
    run_factory(config, tasks_of([a, b], 4, 0), Ledger(tmp_path / "out", config), pool, progress=False)
    assert pool.done == [Preparation(a, 0), Task(a, 0), Preparation(b, 0), Task(b, 0), Task(a, 1), Task(b, 1)]


def test_the_randomness_of_a_task_depends_on_object_and_seed_alone() -> None:
    first = task_rng("can", 3).random(4)
    np.testing.assert_array_equal(first, task_rng("can", 3).random(4))
    assert not np.allclose(first, task_rng("can", 4).random(4))
    assert not np.allclose(first, task_rng("box", 3).random(4))


def test_resting_poses_come_as_often_as_the_object_falls_into_them() -> None:
    """Binomial: 600 draws of probability p are within four standard deviations. Or the likeliest two in turn."""
    can = ObjectLibrary().get("soda_can")
    share = can.stable_probabilities
    drawn = [drawn_pose(can, seed, 0) for seed in range(600)]
    counts = np.bincount(drawn, minlength=len(share))
    assert (np.abs(counts - 600 * share) <= 4 * np.sqrt(600 * share * (1 - share)) + 1e-9).all()
    assert drawn == [drawn_pose(can, seed, 0) for seed in range(600)]
    assert [drawn_pose(can, seed, 2) for seed in range(4)] == [0, 1, 0, 1]


def test_a_worker_that_dies_costs_its_episode_only_and_the_task_is_tried_again(
    tmp_path: Path, pool_of: object, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    tasks = tasks_of(["good", "kills_once", "kills", "broken"], 8, 0)
    with pool_of(2) as pool:  # type: ignore[operator]
        summary = run_factory(CONFIG, tasks, Ledger(out, CONFIG), pool, progress=False)
    assert summary["successes"] == 4
    assert summary["reasons"] == {"worker_died": 2, "bad_object": 2}
    assert summary["executed"] == 4
    assert not EpisodeDataset(out).verify()
    assert "2 x object broken: MeshError: mesh broken.obj: has a hole" in capsys.readouterr().err


def test_the_same_tasks_give_the_same_dataset_whatever_the_number_of_workers(tmp_path: Path, pool_of: object) -> None:
    tasks = tasks_of(["good", "kills_once"], 8, 0)
    with pool_of(1) as pool:  # type: ignore[operator]
        run_factory(CONFIG, tasks, Ledger(tmp_path / "one", CONFIG), pool, progress=False)
    with pool_of(3) as pool:  # type: ignore[operator]
        run_factory(CONFIG, tasks, Ledger(tmp_path / "three", CONFIG), pool, progress=False)
    assert EpisodeDataset(tmp_path / "one").hash() == EpisodeDataset(tmp_path / "three").hash()


def test_a_resumed_run_does_what_is_missing_and_makes_corrupt_episodes_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tasks = tmp_path / "out", tasks_of(["good", "broken"], 8, 0)
    run_factory(CONFIG, tasks, Ledger(out, CONFIG), InProcess(tmp_path), progress=False)
    before = EpisodeDataset(out).hash()
    paths = EpisodeDataset(out).paths
    data = bytearray(paths[0].read_bytes())
    data[len(data) // 2] ^= 1
    paths[0].write_bytes(data)
    paths[1].unlink()
    (out / "attempts" / "good_000002.json").write_text('{"object": "go')  # cut off by a crash
    pool = InProcess(tmp_path)
    run_factory(CONFIG, tasks, Ledger(out, CONFIG), pool, progress=False)
    redone = {job.seed for job in pool.done if isinstance(job, Task)}
    assert redone == {0, 1, 2}
    assert EpisodeDataset(out).hash() == before
    told = capsys.readouterr().err
    assert "episode_good_000000.h5 is damaged" in told and "episode_good_000001.h5 is missing" in told


def test_a_full_disk_ends_the_run_with_what_to_do_and_resume_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, tasks = tmp_path / "out", tasks_of(["good"], 8, 0)
    real, left = os.replace, [9]

    def replace(source: str, target: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(FactoryError, match="no space is left.*run the same command again"):
        run_factory(CONFIG, tasks, Ledger(out, CONFIG), InProcess(tmp_path), progress=False)
    monkeypatch.undo()
    assert not EpisodeDataset(out).verify()
    assert not list(out.glob(".*.tmp"))
    pool = InProcess(tmp_path)
    run_factory(CONFIG, tasks, Ledger(out, CONFIG), pool, progress=False)
    assert 0 < len([job for job in pool.done if isinstance(job, Task)]) < 8
    fresh = tmp_path / "fresh"
    run_factory(CONFIG, tasks, Ledger(fresh, CONFIG), InProcess(tmp_path), progress=False)
    assert EpisodeDataset(out).hash() == EpisodeDataset(fresh).hash()


def test_a_full_disk_in_a_worker_ends_the_run_too(tmp_path: Path) -> None:
    class Full(InProcess):
        def wait(self, timeout_s: float) -> list[tuple[object, Outcome]]:
            key, _ = self._jobs.pop()
            return [(key, Outcome(failure="disk_full", message="OSError: No space left"))]

    with pytest.raises(FactoryError, match="cache folder"):
        run_factory(CONFIG, [Task("good", 0)], Ledger(tmp_path / "out", CONFIG), Full(tmp_path), progress=False)


def test_a_folder_made_with_other_settings_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path, CONFIG)
    with pytest.raises(FactoryError, match="noisy_share 0.5 -> 0.25"):
        Ledger(tmp_path, AttemptConfig(noisy_share=0.25))


def test_a_folder_of_another_robot_of_other_episodes_or_packed_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "a", CONFIG)
    path = tmp_path / "a" / "factory.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "robot": "of other hands"}))
    with pytest.raises(FactoryError, match="other settings .robot of other hands"):
        Ledger(tmp_path / "a", CONFIG)
    path.write_text(json.dumps({name: value for name, value in told.items() if name != "robot"}))
    Ledger(tmp_path / "a", CONFIG)  # of before it was told
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "episode_x.h5").touch()
    with pytest.raises(FactoryError, match="episodes that this command did not make"):
        Ledger(tmp_path / "b", CONFIG)
    writer = EpisodeWriter(tmp_path / "c")
    writer.write("one", make_episode(0, steps=3))
    writer.finish()
    pack(tmp_path / "c", tmp_path / "packed", 10.0)
    with pytest.raises(FactoryError, match="is a packed data set"):
        Ledger(tmp_path / "packed", CONFIG)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("friction: [0.4]", "friction is .0.4,., valid: .lower, upper."),
        ("friction: [a, b]", "expected a list of numbers"),
        ("demo: {step_s: 0.05}", "step_s is 0.05, valid: 0.1"),
        ("demo: {hold_s: -1}", "hold_s -1.0"),
        ("cloud: {n_points: 1500}", "n_points is 1500, valid: 2048"),
    ],
)
def test_settings_that_no_episode_can_have_are_refused_before_any_is_made(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UdgError, match=says):
        run(["--config", str(path), "--objects", "cube_60", "--out", str(tmp_path / "out")])


def test_the_summary_counts_by_hand() -> None:
    def account(result: str, size: str, frames: int, **more: object) -> dict[str, object]:
        return {
            "object": size,
            "seed": 0,
            "result": result,
            "frames": frames,
            "size_class": size,
            "seconds_by_stage": {"execute": 1.0, "cloud": 0.5, "depth": 0.5},
            **more,
        }

    accounts = [
        account("success", "small", 40, strategy="pinch"),
        account("no_reach", "small", 0),
        account("dropped", "large", 0, strategy="bimanual"),
        account("success", "large", 30, strategy="bimanual"),
        account("worker_died", "medium", 0),
    ]
    summary = summarise(accounts, {"grasps": 10.0})
    assert (summary["attempted"], summary["executed"], summary["successes"]) == (5, 3, 2)
    assert summary["success_rate"] == pytest.approx(2 / 3, abs=1e-4)
    assert summary["unplanned_share"] == 0.2
    assert summary["reasons"] == {"no_reach": 1, "dropped": 1, "worker_died": 1}
    assert summary["by_size"]["large"] == {"attempted": 2, "executed": 2, "successes": 1, "success_rate": 0.5}
    assert summary["by_strategy"]["pinch"]["success_rate"] == 1.0
    assert summary["frames_per_core_s"] == 3.5  # 70 frames in 10 + 5 * 2 s
    assert summary["cloud_share"] == 0.125 and summary["cloud_and_depth_share"] == 0.25
    json.dumps(summary)


def test_bad_arguments_are_refused_before_anything_is_started(tmp_path: Path) -> None:
    out = tmp_path / "demos"
    with pytest.raises(UdgError, match="no_such_thing"):
        run(["--objects", "no_such_thing", "--out", str(out)])
    with pytest.raises(UdgError, match="--episodes 0"):
        run(["--episodes", "0", "--out", str(out)])
    with pytest.raises(SystemExit):
        run(["--seed", "-1", "--out", str(out)])
    with pytest.raises(UdgError, match="noisy_share"):
        run(["--noisy-share", "1.5", "--objects", "cube_60", "--out", str(out)])
    assert not out.exists()
    with pytest.raises(UdgError, match="friction"):
        AttemptConfig(friction=(1.0, 0.5))


def test_the_dataset_is_finished_with_a_manifest(tmp_path: Path) -> None:
    ledger, tasks = Ledger(tmp_path / "out", CONFIG), tasks_of(["good"], 3, 0)
    summary = run_factory(CONFIG, tasks, ledger, InProcess(tmp_path), progress=False)
    ledger.finish(CONFIG, summary)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["summary"]["successes"] == 2 and len(manifest["episodes"]) == 2
    assert manifest["hash"] == EpisodeDataset(tmp_path / "out").hash()
    assert EpisodeWriter(tmp_path / "out").path("good_000000").exists()
    assert demos.TRY_AGAIN  # results that a resumed run tries again


def test_settings_come_from_a_file_and_options_take_precedence(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("poses: 3\nfriction: [0.4, 0.9]\ndemo: {hold_s: 1.0}\nchoice: {tried: 5}\n")
    parse = demos.build_parser().parse_args
    assert demos.settings(parse(["--out", "x"])) == AttemptConfig()
    found = demos.settings(parse(["--out", "x", "--config", str(path), "--poses", "1"]))
    assert (found.poses, found.friction, found.demo.hold_s, found.choice.tried) == (1, (0.4, 0.9), 1.0, 5)
    path.write_text("demo: {hold: 1.0}\n")
    with pytest.raises(UdgError, match=r"demos\.demo: unknown key 'hold'; valid are approach_speed_m_s"):
        demos.settings(parse(["--out", "x", "--config", str(path)]))


def test_a_folder_from_before_there_was_a_choice_of_planners_resumes(tmp_path: Path) -> None:
    Ledger(tmp_path, AttemptConfig())
    path = tmp_path / "factory.json"
    settings = json.loads(path.read_text())
    assert settings["demo"].pop("planner") == "ompl"
    path.write_text(json.dumps(settings))
    Ledger(tmp_path, AttemptConfig())
