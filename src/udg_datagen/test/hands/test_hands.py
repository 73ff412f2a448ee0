from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
import yaml

from udg_datagen.hands import load_body, load_hand
from udg_datagen.hands.hand import describe, main
from udg_datagen.hands.mesh_spheres import mesh_spheres
from udg_datagen.synthesis import GraspObject, HandModelError, SynthesisConfig, synthesize
from udg_datagen.validation.validation import ValidationConfig, validate
from udg_description.errors import UdgError
from udg_description.robot.hand_tree import hand_tree
from udg_sim.objects.library import ObjectLibrary

DATA = Path(__file__).parents[3] / "udg_description" / "udg_description" / "data" / "hands"
QUAD = DATA / "quad_hand.yaml"
TIPS = {name: f"{name}_distal" for name in ("thumb", "index", "mid", "ring")}


def _changed(folder: Path, **changes: object) -> Path:
    data = yaml.safe_load(QUAD.read_text())
    data["urdf"] = str(DATA / "quad_hand.urdf")
    data.update(changes)
    path = folder / "hand.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value is not None}))
    return path


def test_forward_kinematics_of_a_finger_worked_out_by_hand() -> None:
    hand = load_hand(QUAD)
    q = torch.zeros(1, hand.n_joints)
    q[0, hand.spec.joint_names.index("index_proximal_joint")] = np.pi / 2  # the finger lies flat, towards -y
    state = hand.forward(torch.zeros(1, 3), torch.eye(3)[None], q)
    tips = (state.X @ hand.W_contacts)[0].T
    # base (0.036, 0.046, 0.030), lengths 0.052 + 0.036 + 0.026
    np.testing.assert_allclose(tips[1], [0.036, 0.046 - 0.114, 0.030], atol=1e-6)
    np.testing.assert_allclose(tips[0], [0.0, -0.046, 0.030 + 0.114], atol=1e-6)


def test_limits_and_efforts_are_those_of_the_urdf() -> None:
    spec = load_hand(QUAD).spec
    k = spec.joint_names.index("mid_distal_joint")
    assert (spec.lower[k], spec.upper[k], spec.effort[k]) == (-0.1, 1.4, 0.5)
    body = load_body(QUAD)
    assert body.joint_names == spec.joint_names and body.drives[k].force_limit == 0.5


def test_joints_can_be_put_in_another_order(tmp_path: Path) -> None:
    names = list(load_hand(QUAD).spec.joint_names)
    order = sorted(names, key=lambda name: (name.split("_")[0], names.index(name)))
    spec = load_hand(_changed(tmp_path, joints=order)).spec
    assert list(spec.joint_names) == order
    with pytest.raises(HandModelError, match="before the joint that carries it"):
        load_hand(_changed(tmp_path, joints=order[::-1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"palm_normal": [0, 0, 2]}, "not a unit vector"),
        ({"root_link": "wrist"}, "no link 'wrist'"),
        ({"preshape": {"thumb_spread": 0.0}}, "the joints are"),
        ({"pads": {}}, "unknown fields"),
        ({"grasp_center": None}, "grasp_center"),
        ({"side": "middle"}, "valid: left, right"),
        ({"contacts": {"thumb": {"link": "nail", "center": [0, 0, 0], "radius": 0.01, "axis": [0, 0, 1]}}}, "'nail'"),
        ({"contacts": {"a": {"link": "palm", "center": [0, 0], "radius": 0.01, "axis": [0, 0, 1]}}}, "3 finite"),
        ({"spheres": {"palm": [[0, 0, 0, -1]]}}, "no radius"),
    ],
)
def test_a_wrong_description_names_what_is_wrong(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(HandModelError, match=message):
        load_hand(_changed(tmp_path, **changes))


def test_missing_and_malformed_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HandModelError, match="cannot read"):
        load_hand(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    with pytest.raises(HandModelError, match="not valid YAML"):
        load_hand(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('type="revolute"', 'type="prismatic"', "revolute"),
        ('effort="0.5"', 'effort="0"', "effort"),
        ("</joint>", '<mimic joint="thumb_spread"/></joint>', "mimics"),
    ],
)
def test_joints_that_are_not_supported_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    urdf = tmp_path / f"{message}.urdf"
    urdf.write_text((DATA / "quad_hand.urdf").read_text().replace(old, new))
    with pytest.raises(HandModelError, match=message):
        hand_tree(urdf, "palm")


def test_spheres_given_in_the_file_replace_the_derived_ones(tmp_path: Path) -> None:
    spec = load_hand(_changed(tmp_path, spheres={"palm": [[0.0, 0.0, 0.01, 0.02]]})).spec
    assert (spec.sphere_link == 0).sum() == 1
    assert spec.sphere_radius[spec.sphere_link == 0] == pytest.approx([0.02])


def test_the_first_description_finds_pads_and_an_open_hand(tmp_path: Path) -> None:
    out, notes = describe(
        DATA / "quad_hand.urdf", tmp_path / "new.yaml", root="palm", palm_normal=np.array([0.0, 0.0, 2.0]), tips=TIPS
    )
    assert notes == ()
    spec, known = load_hand(out).spec, load_hand(QUAD).spec
    np.testing.assert_allclose(spec.contact_center, known.contact_center, atol=1e-3)
    np.testing.assert_allclose(spec.contact_radius, known.contact_radius, atol=1e-4)
    np.testing.assert_allclose(spec.contact_axis, known.contact_axis, atol=0.05)
    assert spec.grasp_center[2] > 0.08  # before the palm


def test_the_command_tells_what_is_missing(tmp_path: Path) -> None:
    arguments = ["--urdf", str(DATA / "quad_hand.urdf"), "--palm-normal", "0,0,1", "--out", str(tmp_path / "a.yaml")]
    with pytest.raises(UdgError, match="quad_hand.urdf: no link 'nail'"):
        main([*arguments, "--root", "palm", "--tips", "thumb=thumb_distal,index=nail"])
    assert list(tmp_path.iterdir()) == []


def test_spheres_reach_the_surface_of_a_mesh_from_within() -> None:
    box = trimesh.creation.box((0.02, 0.03, 0.05))
    rows = mesh_spheres(box)
    assert (np.abs(rows[:, :3]) + rows[:, 3:] <= np.array([0.01, 0.015, 0.025]) + 0.001).all()
    points = trimesh.sample.sample_surface(box, 500, seed=1)[0]
    gap = (np.linalg.norm(points[:, None] - rows[:, :3], axis=-1) - rows[:, 3]).min(axis=1)
    assert np.quantile(gap, 0.9) < 0.003


def test_meshes_of_a_urdf_become_spheres(tmp_path: Path) -> None:
    capsule = trimesh.creation.capsule(radius=0.0105, height=0.026)
    capsule.apply_translation([0.0, 0.0, 0.0365 - capsule.bounds[1, 2]])
    capsule.export(tmp_path / "tip.stl")
    text = (DATA / "quad_hand.urdf").read_text()
    start = text.index('<link name="mid_distal">')
    end = text.index("</link>", start)
    part = text[start:end]
    tip = part[: part.index("<collision>")]
    mesh = '<collision><geometry><mesh filename="package://any/tip.stl"/></geometry></collision>\n'
    source = tmp_path / "source.urdf"
    source.write_text(text[:start] + tip + mesh + text[end:])
    out, _ = describe(source, tmp_path / "hand.yaml", root="palm", palm_normal=np.array([0.0, 0.0, 1.0]), tips=TIPS)
    spec = load_hand(out).spec
    assert spec.contact_radius[2] == pytest.approx(0.0105, abs=1e-3)
    assert spec.contact_center[2, 2] == pytest.approx(0.026, abs=3e-3)


def test_another_hand_grasps_and_holds() -> None:
    torch.set_num_threads(1)
    model = ObjectLibrary().get("ball_70")
    config = SynthesisConfig(strategy="tripod", n_candidates=32, qp_steps=150, n_keep=4)
    grasps = synthesize(
        GraspObject.from_model(model), load_hand(QUAD), config, T_table_object=model.stable_poses[0], seed=0
    )
    assert len(grasps) == 4
    bodies = {"right": load_body(QUAD)}
    pull = ValidationConfig(rule="six_axis", axis_s=0.5, mass_kg=0.1, friction=0.6)
    assert validate(grasps, model, pull, bodies=bodies).held.sum() >= 3  # type: ignore[arg-type]
    lift = ValidationConfig(mass_kg=0.5, friction=0.6)
    assert validate(grasps, model, lift, bodies=bodies).held.sum() >= 3  # type: ignore[arg-type]
