"""What the expert does where a policy has come to: its plans from there, the scenes, and a whole correction."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import udg_policy
from udg_datagen.demonstrations import corrections
from udg_datagen.demonstrations.attempt import AttemptConfig
from udg_datagen.demonstrations.corrections import (
    CorrectionConfig,
    CorrectionTask,
    Corrector,
    Watcher,
    correction_tasks,
    run,
)
from udg_datagen.demonstrations.demonstration import DemoConfig, DemoPlanner, Plan, Rejected
from udg_datagen.demonstrations.demos import FactoryError
from udg_datagen.demonstrations.stopwatch import Stopwatch
from udg_datagen.expert.choice import Choice
from udg_datagen.expert.spread import spread_choices
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize
from udg_description.arm_kinematics import hand_ik, hand_pose
from udg_description.layout import HOME_Q, part_indices
from udg_policy.bench.bench_policy import random_checkpoint
from udg_policy.config import preset
from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter
from udg_policy.episodes.episode import Episode, Stage
from udg_policy.network.checkpoint import load_checkpoint, save_checkpoint
from udg_sim.objects.library import ObjectLibrary, ObjectModel

ARM, HAND = part_indices("left_arm"), part_indices("left_hand")
SCENE = CollisionScene()
SHIPPED = Path(udg_policy.__file__).parent / "data" / "edge"
NO_FAILURE = {"failed_share": 0.0, "missed_share": 0.0}


@pytest.fixture(scope="module")
def cube() -> ObjectModel:
    return ObjectLibrary().get("cube_60")


@pytest.fixture(scope="module")
def T_world_object(cube: ObjectModel) -> np.ndarray:
    T = cube.stable_poses[0].copy()
    T[:2, 3] = 0.6, 0.2
    return T


@pytest.fixture(scope="module")
def choice(cube: ObjectModel, T_world_object: np.ndarray) -> Choice:
    grasps = synthesize(
        GraspObject.from_model(cube),
        robot_hand("left"),
        SynthesisConfig(n_candidates=60),
        T_table_object=cube.stable_poses[0],
        seed=1,
    )
    SCENE.set_objects((cube.mesh, T_world_object))
    return next(iter(spread_choices([grasps.take(slice(0, 30))], cube, T_world_object, HOME_Q, SCENE)))


class Planned:
    """Plans of the expert's from a configuration."""

    def __init__(self, choice: Choice, cube: ObjectModel, T_world_object: np.ndarray) -> None:
        self._planner = DemoPlanner(DemoConfig(), SCENE)
        self._choice, self._cube, self._T = choice, cube, T_world_object

    def __call__(self, q: np.ndarray) -> Plan:
        plan = self._planner.plan_on(self._choice, self._cube, self._T, q, seed=0)
        assert plan is not None
        return plan

    def from_rest(self) -> Plan:
        plan = self._planner.plan([self._choice], self._cube, self._T, HOME_Q, seed=0)
        assert plan is not None
        return plan


@pytest.fixture
def planned(choice: Choice, cube: ObjectModel, T_world_object: np.ndarray) -> Planned:
    return Planned(choice, cube, T_world_object)


def on_the_way(choice: Choice, share: float, aside_m: float = 0.0) -> np.ndarray:
    """A configuration on the approach (0 pregrasp, 1 grasp), shifted sideways, fingers as before the grasp."""
    approach = choice.reach.approach["left"]
    q = HOME_Q.copy()
    q[ARM] = approach[round(share * (len(approach) - 1))]
    T = hand_pose("left", q[ARM]).copy()
    back = hand_pose("left", approach[0])[:3, 3] - hand_pose("left", approach[-1])[:3, 3]
    T[:3, 3] += aside_m * np.cross(back, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(back, [0.0, 0.0, 1.0]))
    solutions = hand_ik("left", T)
    q[ARM] = solutions[int(np.argmin(np.abs(solutions - q[ARM]).max(axis=1)))]
    q[HAND] = choice.grasps[choice.reach.grasp_index].hands[0].q_pregrasp
    return q


def distances_m(choice: Choice, plan: Plan) -> np.ndarray:
    """Of the left hand from its grasp: at the start, and at each target until the hand closes."""
    before = [plan.start, *plan.targets[plan.stages <= Stage.GRASP]]
    places = np.array([hand_pose("left", q[ARM])[:3, 3] for q in before])
    return np.linalg.norm(places - choice.reach.Ts_world_hand["left"][:3, 3], axis=1)


def test_on_the_approach_it_goes_on_without_a_stop(choice: Choice, planned: Planned) -> None:
    plan = planned(on_the_way(choice, 3 / 7))
    away = distances_m(choice, plan)
    assert (np.diff(away) <= 1e-4).all() and away[0] - away[1] > 0.01  # 0.25 m/s are 25 mm a step
    assert Stage.PREGRASP not in plan.stages and Stage.HOLD in plan.stages
    np.testing.assert_allclose(plan.targets[-1], planned.from_rest().targets[-1], atol=1e-6)


def test_beside_the_approach_it_goes_there_and_not_back_to_the_pregrasp(choice: Choice, planned: Planned) -> None:
    plan = planned(on_the_way(choice, 5 / 7, aside_m=0.02))
    away = distances_m(choice, plan)
    assert away.max() < 0.05  # the pregrasp is 0.1 m away
    assert away[len(away) - 5] == pytest.approx(0.0, abs=0.005)


def test_hands_that_have_begun_to_close_at_the_grasp_are_not_opened(choice: Choice, planned: Planned) -> None:
    hand = choice.grasps[choice.reach.grasp_index].hands[0]
    q = on_the_way(choice, 1.0)
    way = hand.q_grasp - hand.q_pregrasp
    q[HAND] = hand.q_pregrasp + 0.6 * way
    closing = planned(q).targets[:, HAND]
    shares = (closing - hand.q_pregrasp) @ way / (way @ way)
    assert shares.min() > 0.59 and shares.max() > 0.99
    opened = planned(on_the_way(choice, 1.0)).targets[:, HAND]
    assert ((opened - hand.q_pregrasp) @ way / (way @ way)).min() < 0.5


def test_far_away_it_plans_as_from_rest_but_at_the_speed_of_one_that_moves(planned: Planned) -> None:
    rest, moving = planned.from_rest(), planned(HOME_Q)
    assert moving.stages[0] == Stage.PREGRASP
    np.testing.assert_allclose(moving.targets[-1], rest.targets[-1], atol=1e-6)
    first = [np.abs(plan.targets[1, ARM] - plan.targets[0, ARM]).max() for plan in (rest, moving)]
    assert first[1] > 1.3 * first[0] and first[1] <= 1.2 * 0.1 + 0.009  # 1.2 rad/s, and a merged step


def test_an_arm_that_does_not_act_goes_home_if_it_has_left(planned: Planned) -> None:
    other = part_indices("right_arm")
    q = HOME_Q.copy()
    q[other] += 0.05
    np.testing.assert_allclose(planned(q).targets[:, other], np.tile(q[other], (len(planned(q).targets), 1)))
    q[other] = HOME_Q[other] + np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(planned(q).targets[-1, other], HOME_Q[other])


def dataset(folder: Path, metas: list[dict]) -> Path:
    writer = EpisodeWriter(folder)
    for i, meta in enumerate(metas):
        writer.write(
            str(i),
            Episode(
                cloud_xyz=np.zeros((1, 2048, 3)),
                cloud_label=np.zeros((1, 2048)),
                q=np.zeros((1, 36)),
                target=np.zeros((1, 36)),
                stage=np.zeros(1),
                meta=meta,
            ),
        )
    return folder


def test_take_overs_are_spread_over_the_scenes_and_follow_from_the_seed(tmp_path: Path) -> None:
    scenes = [("a", 0), ("a", 1), ("b", 0)]
    data = EpisodeDataset(dataset(tmp_path / "data", [{"object": o, "seed": s} for o, s in scenes]))
    tasks = correction_tasks(data, 7, seed=3)
    assert [task.draw for task in tasks] == [3, 3, 3, 4, 4, 4, 5]
    assert {(task.object, task.seed) for task in tasks[:3]} == set(scenes)
    assert tasks == correction_tasks(data, 7, seed=3)
    assert len({task.name for task in tasks}) == 7
    own = EpisodeDataset(dataset(tmp_path / "own", [{"object": "a", "seed": 0, "correction": {}}]))
    with pytest.raises(FactoryError, match="holds no demonstrations"):
        correction_tasks(own, 1, seed=0)


def test_settings_that_make_no_sense_are_named() -> None:
    with pytest.raises(FactoryError, match="near_share is 1.5, valid: 0 to 1"):
        CorrectionConfig(near_share=1.5)
    with pytest.raises(FactoryError, match="failed_share is -0.1, valid: 0 to 1"):
        CorrectionConfig(failed_share=-0.1)
    with pytest.raises(FactoryError, match="stalled_steps at least 1"):
        CorrectionConfig(steps=0)


def watched(choice: Choice, places: list[np.ndarray], raised_m: float = 0.0) -> Watcher:
    watcher = Watcher(CorrectionConfig(stalled_steps=3), choice)
    for q in places:
        watcher.look(q, raised_m)
    return watcher


def test_a_hand_that_leaves_its_grasp_without_the_object_has_failed(choice: Choice) -> None:
    there_and_back = [HOME_Q, on_the_way(choice, 0.5), on_the_way(choice, 1.0), HOME_Q]
    assert watched(choice, there_and_back).failed
    assert not watched(choice, there_and_back[:3]).failed and watched(choice, there_and_back[:3]).came_near
    with_object = watched(choice, there_and_back, raised_m=0.1)
    assert with_object.lifted and not with_object.failed
    assert not watched(choice, [HOME_Q, on_the_way(choice, 0.0)]).failed


def test_a_robot_that_stands_has_failed(choice: Choice) -> None:
    assert not watched(choice, 3 * [HOME_Q]).failed
    assert watched(choice, 4 * [HOME_Q]).failed
    assert not watched(choice, [HOME_Q + 0.02 * k for k in range(8)]).failed


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("UDG_CACHE", str(folder))
        yield folder


def test_a_correction_begins_where_the_policy_has_come_to_and_lifts(cache: Path) -> None:
    config = CorrectionConfig(
        attempt=AttemptConfig(noisy_share=0.0),
        policy="abc",
        failed_share=0.0,
        missed_share=0.0,
        near_share=0.0,
        steps=3,
    )
    task = CorrectionTask("cube_60", 0, draw=1)
    checkpoint = random_checkpoint(preset("debug"))
    episode = Corrector(config, checkpoint).correct(task, Stopwatch())
    correction = episode.meta["correction"]
    assert correction["policy"] == "abc" and correction["draw"] == 1 and 1 <= correction["steps"] <= 3
    assert episode.meta["success"] and episode.meta["seed"] == 0
    assert episode.T_world_object[-1, 2, 3] - episode.T_world_object[0, 2, 3] > 0.1
    demonstration = Corrector(config, checkpoint).attempt("cube_60", 0, Stopwatch())
    np.testing.assert_allclose(episode.T_world_object[0], demonstration.T_world_object[0], atol=2e-3)  # the same scene
    assert np.abs(episode.q[0] - demonstration.q[0]).max() > 0.01
    again = Corrector(config, checkpoint).correct(task, Stopwatch())
    assert (again.cloud_xyz == episode.cloud_xyz).all() and (again.target == episode.target).all()


def test_after_a_miss_the_hand_opens_and_grasps(cache: Path) -> None:
    config = CorrectionConfig(attempt=AttemptConfig(noisy_share=0.0), failed_share=0.0, missed_share=1.0)
    task = CorrectionTask("cube_60", 0, draw=1)
    episode = Corrector(config, random_checkpoint(preset("debug"))).correct(task, Stopwatch())
    (side,) = episode.meta["sides"]
    arm, fingers = part_indices(f"{side}_arm"), part_indices(f"{side}_hand")
    first, squeezed = episode.q[0], episode.target[episode.stage == Stage.LIFT][-1]
    over_m = hand_pose(side, first[arm])[2, 3] - episode.T_world_object[0][2, 3]
    assert over_m > 0.05 and episode.meta["correction"] == {
        "policy": "",
        "steps": 0,
        "draw": 1,
        "refused": 0,
        "moment": "missed",
    }
    opened = episode.target[episode.stage <= Stage.PREGRASP][-1]
    way = squeezed[fingers] - opened[fingers]
    shares = ((np.array([first, opened]) - opened)[:, fingers] @ way) / (way @ way)
    assert shares[0] > 0.4 and shares[1] == 0.0  # closed over the object, open before it


def test_a_policy_that_has_failed_is_corrected(cache: Path) -> None:
    """Whatever stands still has failed; here any robot does, after one step."""
    config = CorrectionConfig(
        attempt=AttemptConfig(noisy_share=0.0),
        failed_share=1.0,
        missed_share=0.0,
        stalled_steps=1,
        stalled_rad=10.0,
        near_steps=2,
    )
    task = CorrectionTask("cube_60", 0, draw=1)
    episode = Corrector(config, random_checkpoint(preset("debug"))).correct(task, Stopwatch())
    assert episode.meta["correction"]["moment"] == "failed" and 1 <= episode.meta["correction"]["steps"] <= 4
    never = replace(config, stalled_rad=0.0, failed_limit_steps=2)
    with pytest.raises(Rejected, match="not_needed"):
        Corrector(never, random_checkpoint(preset("debug"))).correct(task, Stopwatch())


@pytest.mark.slow
def test_the_command_goes_on_with_any_number_of_workers(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dataset(tmp_path / "data", [{"object": "cube_60", "seed": seed} for seed in range(3)])
    policy = save_checkpoint(tmp_path / "policy", load_checkpoint(SHIPPED))

    def command(out: str, episodes: int, workers: int) -> dict:
        run(
            [
                "--checkpoint",
                str(policy),
                "--data",
                str(data),
                "--out",
                str(tmp_path / out),
                "--near-share",
                "0",
                "--episodes",
                str(episodes),
                "--workers",
                str(workers),
            ]
        )
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    command("one", 2, 1)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "one" / "attempts").iterdir()}
    summary = command("one", 3, 2)
    assert summary["attempted"] == 3 and summary["successes"] >= 1
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())
    command("other", 3, 2)
    assert EpisodeDataset(tmp_path / "one").hash() == EpisodeDataset(tmp_path / "other").hash()
    assert all("correction" in EpisodeDataset(tmp_path / "one").meta(i) for i in range(summary["successes"]))
    save_checkpoint(policy, random_checkpoint(preset("debug")))
    with pytest.raises(FactoryError, match="was made with other settings .policy"):
        command("one", 3, 1)


def test_scenes_come_from_the_data_set(tmp_path: Path) -> None:
    assert corrections.scenes_of(tmp_path) == replace(AttemptConfig(), noisy_share=0.0)
    made = replace(AttemptConfig(), poses=2, friction=(0.4, 0.5), demo=DemoConfig(start_noise_arm_rad=0.2))
    (tmp_path / "factory.json").write_text(json.dumps({**asdict(made), "of another version": 1}))
    assert corrections.scenes_of(tmp_path) == replace(made, noisy_share=0.0)
