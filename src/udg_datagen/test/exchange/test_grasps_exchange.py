"""Grasp files of other projects: round trips, known numbers, and the check on import."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from udg_datagen.exchange.check import checked_set, mesh_frame
from udg_datagen.exchange.dexgraspbench import qpos_dictionary, read_dexgraspbench
from udg_datagen.exchange.grasps_exchange import _main
from udg_datagen.exchange.isaac_grasp import isaac_yaml, read_isaac
from udg_datagen.exchange.plain_grasps import ExchangeError, PlainGrasps
from udg_datagen.grasp_set import GraspSet
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_sim.objects.library import ObjectLibrary

OBJECT = "cylinder_60"
JOINTS = (tuple(f"j{k}" for k in range(4)), tuple(f"k{k}" for k in range(4)))


@pytest.fixture(scope="module")
def grasps() -> GraspSet:
    """Some real ones."""
    model = ObjectLibrary().get(OBJECT)
    obj = GraspObject.from_model(model)
    config = SynthesisConfig(strategy="tripod", n_candidates=24)
    return synthesize(obj, robot_hand("right"), config, T_table_object=model.stable_poses[0])


def plain(hands: int = 1, count: int = 3) -> PlainGrasps:
    rng = np.random.default_rng(1)
    T = make_transform(rotvec_to_matrix(rng.normal(size=(count, hands, 3))), rng.normal(size=(count, hands, 3)))
    q = rng.normal(size=(3, count, hands, 4))
    return PlainGrasps(
        sides=("left", "right")[-hands:],
        joint_names=JOINTS[:hands],
        T_object_hand=T,
        q_pregrasp=q[0],
        q_grasp=q[1],
        q_squeeze=q[2],
        confidence=np.linspace(1.0, 0.5, count),
        object_id="thing",
    )


def assert_same(a: PlainGrasps, b: PlainGrasps, *, squeeze: bool) -> None:
    assert (a.sides, a.joint_names, a.object_id) == (b.sides, b.joint_names, b.object_id)
    names = ("T_object_hand", "q_pregrasp", "q_grasp", "confidence", *(["q_squeeze"] if squeeze else []))
    for name in names:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-12, err_msg=name)


@pytest.mark.parametrize("hands", [1, 2])
def test_isaac_files_come_back_within_rounding(hands: int, tmp_path: Path) -> None:
    made, paths = plain(hands), []
    for h in range(hands):
        paths.append(tmp_path / f"{h}.yaml")
        paths[-1].write_text(isaac_yaml(made, h, "hand"))
    assert_same(read_isaac(paths, made.sides, made.joint_names), made, squeeze=False)


@pytest.mark.parametrize("hands", [1, 2])
def test_qpos_files_come_back_within_rounding_wherever_the_object_was(hands: int, tmp_path: Path) -> None:
    made, paths = plain(hands), []
    T_world_object = make_transform(rotvec_to_matrix(np.array([0.3, -1.0, 2.0])), np.array([1.0, 2.0, 3.0]))
    for n in range(len(made)):
        paths.append(tmp_path / f"{n}.npy")
        np.save(paths[-1], np.array(qpos_dictionary(made, n, T_world_object)))
    assert_same(read_dexgraspbench(paths, made.sides, made.joint_names), made, squeeze=True)


def test_the_specifications_own_example_is_read_as_it_says(tmp_path: Path) -> None:
    (tmp_path / "mug.yaml").write_text("""
format: isaac_grasp
format_version: 1.0
object_frame: /World/mug
gripper_frame: /World/panda_hand
grasps:
  "grasp_0":
    confidence: 1.0
    position: [-0.04346, 0.06759, 0.19895]
    orientation: {w: 0.00332, xyz: [0.98453, 0.16837, 0.04837]}
    cspace_position:
      panda_finger_joint1: 0.00943
    pregrasp_cspace_position:
      panda_finger_joint1: 0.04
""")
    read = read_isaac([tmp_path / "mug.yaml"], ("right",), (("panda_finger_joint1",),))
    np.testing.assert_allclose(read.T_object_hand[0, 0, :3, 3], [-0.04346, 0.06759, 0.19895])
    # half a turn, nearly, about (0.98453, 0.16837, 0.04837): x stays, by 2 x^2 - 1
    assert read.T_object_hand[0, 0, 0, 0] == pytest.approx(2 * 0.98453**2 - 1 + 2 * 0.00332**2, abs=1e-4)
    assert (read.q_grasp[0, 0, 0], read.q_pregrasp[0, 0, 0], read.q_squeeze[0, 0, 0]) == (0.00943, 0.04, 0.00943)


def test_bodexs_own_layout_is_read(tmp_path: Path) -> None:
    pose = np.zeros((1, 2, 3, 11), dtype=np.float32)
    pose[..., 3] = 1.0  # w
    pose[0, 1, 1, 0] = 0.5  # x of the second grasp
    pose[0, 1, :, 7:] = np.arange(12).reshape(3, 4)
    quarter = np.sqrt(0.5)
    np.save(
        tmp_path / "a_grasp.npy",
        np.array(
            {
                "robot_pose": pose,
                "obj_pose": np.array([[0.0, 0.0, 0.25, quarter, 0.0, 0.0, quarter]]),
                "obj_scale": np.array([0.08]),
                "obj_path": "core_mug",
            }
        ),
    )
    read = read_dexgraspbench([tmp_path / "a_grasp.npy"], ("right",), JOINTS[:1])
    assert len(read) == 2 and read.object_id == "core_mug"
    # the object is turned by 90 deg about z
    np.testing.assert_allclose(read.T_object_hand[1, 0, :3, 3], [0.0, -0.5, -0.25], atol=1e-7)
    np.testing.assert_allclose(read.q_squeeze[1, 0], [8, 9, 10, 11])


def test_two_hands_are_written_right_before_left(tmp_path: Path) -> None:
    made = plain(2)
    written = qpos_dictionary(made, 0, np.eye(4))
    np.testing.assert_allclose(written["grasp_qpos"][:3], made.T_object_hand[0, 1, :3, 3])
    assert written["joint_names"] == [*JOINTS[1], *JOINTS[0]]


def test_joints_in_another_order_are_put_right_by_their_names(tmp_path: Path) -> None:
    made = plain()
    written = qpos_dictionary(made, 0, np.eye(4))
    for stage in ("pregrasp_qpos", "grasp_qpos", "squeeze_qpos"):
        written[stage] = np.concatenate([written[stage][:7], written[stage][7:][::-1]])
    written["joint_names"] = written["joint_names"][::-1]
    np.save(tmp_path / "a.npy", np.array(written))
    read = read_dexgraspbench([tmp_path / "a.npy"], made.sides, made.joint_names)
    np.testing.assert_allclose(read.q_grasp[0], made.q_grasp[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not an isaac_grasp file"),
        ({"format_version": 2.0}, "format_version 2.0; valid: 1.0"),
        ({"grasps": {}}, "has no grasps"),
        ({"grasps": {"g": {"position": [0, 0, 0], "orientation": {"w": 2, "xyz": [0, 0, 0]}}}}, "length 2.000"),
        ({"grasps": {"g": {"position": [0, 0], "orientation": {"w": 1, "xyz": [0, 0, 0]}}}}, "position.*3 finite"),
        (
            {
                "grasps": {
                    "g": {
                        "position": [0, 0, 0],
                        "orientation": {"w": 1, "xyz": [0, 0, 0]},
                        "cspace_position": {"j0": 1},
                    }
                }
            },
            "joint 'j1' is missing",
        ),
        ({"grasps": {"g": {"position": [0, 0, float("nan")], "orientation": {"w": 1, "xyz": [0, 0, 0]}}}}, "finite"),
        ({"grasps": {"g": 3}}, "grasp 'g': valid: a mapping"),
    ],
)
def test_what_is_wrong_in_a_yaml_file_is_told(change: dict[str, object], message: str, tmp_path: Path) -> None:
    document = {**yaml.safe_load(isaac_yaml(plain(), 0, "hand")), **change}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ExchangeError, match=f"a.yaml.*{message}"):
        read_isaac([tmp_path / "a.yaml"], ("right",), JOINTS[:1])


def test_references_in_a_yaml_file_are_refused(tmp_path: Path) -> None:
    bomb = "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    (tmp_path / "a.yaml").write_text(bomb)
    with pytest.raises(ExchangeError, match="references"):
        read_isaac([tmp_path / "a.yaml"], ("right",), JOINTS[:1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grasp_qpos": np.zeros(5)}, "one row each"),
        ({stage: np.zeros(10) for stage in ("pregrasp_qpos", "grasp_qpos", "squeeze_qpos")}, "10 numbers.*valid: 11"),
        ({"grasp_qpos": np.full(11, np.nan)}, "not finite"),
        ({"obj_pose": np.zeros(7)}, "length 0.000"),
        ({"joint_names": ["x"] * 4}, "joint 'j0' is missing"),
    ],
)
def test_what_is_wrong_in_a_npy_file_is_told(change: dict[str, object], message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array({**qpos_dictionary(plain(), 0, np.eye(4)), **change}))
    with pytest.raises(ExchangeError, match=f"a.npy.*{message}"):
        read_dexgraspbench([tmp_path / "a.npy"], ("right",), JOINTS[:1])


# --- the check on import ----------------------------------------------------------------------------------------------


def test_our_own_grasps_pass_and_their_contacts_are_where_they_were(grasps: GraspSet) -> None:
    checked = checked_set(PlainGrasps.of(grasps), ObjectLibrary().get(OBJECT), [robot_hand("right")])
    assert len(checked.grasps) == checked.given == len(grasps)
    for name, points in zip(grasps.contact_names, grasps.contact_points_object.swapaxes(0, 1), strict=True):
        place = checked.grasps.contact_names.index(name)
        np.testing.assert_allclose(checked.grasps.contact_points_object[:, place], points, atol=1e-3)
        assert np.abs(checked.grasps.tip_distance[:, place]).max() < 2e-3
    np.testing.assert_allclose(checked.grasps.penetration, grasps.penetration, atol=1e-3)


@pytest.mark.parametrize("fault", ["scale", "frame", "quaternion", "joints"])
def test_a_file_of_another_convention_is_refused(fault: str, grasps: GraspSet) -> None:
    made = PlainGrasps.of(grasps)
    T, q = made.T_object_hand.copy(), made.q_grasp
    if fault == "scale":
        T[..., :3, 3] *= 1.3
    elif fault == "frame":
        T[..., :3, 3] += np.array([0.02, 0.0, 0.0])
    elif fault == "quaternion":
        T[..., :3, :3] = T[..., :3, :3].swapaxes(-1, -2)
    else:
        q = q[..., ::-1]
    wrong = PlainGrasps(**{**vars(made), "T_object_hand": T, "q_grasp": q})
    model = ObjectLibrary().get(OBJECT)
    try:
        left = len(checked_set(wrong, model, [robot_hand("right")]).grasps)
    except ExchangeError as error:
        assert "pads within 2.0 mm" in str(error)
        left = 0
    assert left <= len(grasps) // 4


@pytest.mark.parametrize("form", ["isaac_grasp", "dexgraspbench"])
def test_the_command_writes_and_reads_back(
    form: str, grasps: GraspSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grasps.save(tmp_path / "ours.npz")
    _main(["export", str(tmp_path / "ours.npz"), "--format", form, "--out", str(tmp_path / "theirs")])
    files = sorted(str(path) for path in (tmp_path / "theirs").iterdir() if path.suffix != ".obj")
    assert (tmp_path / "theirs" / "object.obj").is_file()
    _main(["import", *files, "--object", OBJECT, "--out", str(tmp_path / "back.npz")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    back = GraspSet.load(tmp_path / "back.npz")
    assert told["grasps"] == len(back) == len(grasps) and told["left_out"] == 0
    np.testing.assert_allclose(back.T_object_hand, grasps.T_object_hand, atol=1e-9)
    np.testing.assert_allclose(back.q_grasp, grasps.q_grasp, atol=1e-9)


def test_the_files_own_origin_is_found(tmp_path: Path) -> None:
    mesh = ObjectLibrary().get(OBJECT).mesh.copy()
    mesh.apply_translation([0.5, -0.25, 1.0])
    mesh.export(tmp_path / "moved.obj")
    size = float(mesh.extents.max())
    model = ObjectLibrary().get(f"{tmp_path / 'moved.obj'}@{size:.6f}")
    np.testing.assert_allclose(mesh_frame(model)[:3, 3], [-0.5, 0.25, -1.0], atol=2e-3)
