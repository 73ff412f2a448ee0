"""Hand descriptions as people bring them: refused by the name of their own file, or taken; nothing remains."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from udg_datagen.hands import load_hand
from udg_datagen.hands.hand import describe
from udg_description.errors import UdgError
from udg_description.robot import hand_spheres
from udg_description.robot.hand_tree import hand_tree, without_collision

sys.path.insert(0, str(Path(__file__).parent))
from hostile_urdfs import QUAD, REFUSED, TAKEN, broken, meshes_beside  # noqa: E402

EXAMPLES = int(os.environ.get("UDG_EXAMPLES", "8"))
"""Generated URDFs; hostile_urdfs.py is the command that makes hundreds."""
CASES = Path(__file__).parents[5] / "shared" / "cases"
TIPS = {"thumb": "thumb_distal", "index": "index_distal"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hands")
    meshes_beside(made)
    return made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr("udg_datagen.hands.guess._DRAWS", 20)
    monkeypatch.setattr(hand_spheres, "_SURFACE_DENSITY", 2e3)


def _describe(urdf: Path, out: Path) -> tuple[str, ...]:
    return describe(urdf, out, root="palm", palm_normal=np.array([0.0, 0.0, 1.0]), tips=TIPS).notes


def _check_refused(urdf: Path, out: Path) -> str:
    with pytest.raises(UdgError) as caught:
        _describe(urdf, out)
    assert urdf.name in str(caught.value) and "udg-hand-" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not out.parent.exists() or list(out.parent.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("way", sorted(REFUSED))
def test_a_broken_description_is_refused_by_its_own_name(folder: Path, tmp_path: Path, way: str) -> None:
    urdf = folder / "their_hand.urdf"
    urdf.write_text(REFUSED[way](QUAD.read_text(), Random(1)), encoding="utf-8")
    _check_refused(urdf, tmp_path / "out" / "hand.yaml")


@pytest.mark.parametrize("way", sorted(TAKEN))
def test_an_odd_description_is_taken(folder: Path, tmp_path: Path, way: str) -> None:
    urdf = folder / "odd_hand.urdf"
    urdf.write_text(TAKEN[way](QUAD.read_text(), Random(0)), encoding="utf-8")
    _describe(urdf, tmp_path / "hand.yaml")
    spec = load_hand(tmp_path / "hand.yaml").spec
    assert len(spec.joint_names) == 15
    assert {path.name for path in tmp_path.iterdir()} == {"hand.yaml", "hand.urdf"}


def test_a_file_in_another_encoding_than_it_says_is_refused(tmp_path: Path) -> None:
    urdf = tmp_path / "latin.urdf"
    urdf.write_bytes(QUAD.read_text().replace("<robot", "<!-- für \xe4rzte --><robot", 1).encode("latin-1"))
    assert "encoding" in _check_refused(urdf, tmp_path / "out" / "hand.yaml")


def test_the_unit_of_a_mesh_is_guessed_in_the_refusal(folder: Path, tmp_path: Path) -> None:
    urdf = folder / "mm.urdf"
    urdf.write_text(REFUSED["mesh in mm"](QUAD.read_text(), Random(0)))
    message = _check_refused(urdf, tmp_path / "out" / "hand.yaml")
    assert "'thumb_distal'" in message and "in mm?" in message and "0.001 0.001 0.001" in message


def test_links_that_nothing_can_touch_are_named(tmp_path: Path) -> None:
    text = QUAD.read_text()
    start = text.index('<link name="palm">')
    end = text.index("</link>", start)
    urdf = tmp_path / "bare.urdf"
    urdf.write_text(text[:start] + text[start:end].replace("collision>", "visual>") + text[end:])
    assert without_collision(hand_tree(urdf, "palm")) == ["palm"]
    notes = _describe(urdf, tmp_path / "out" / "hand.yaml")
    assert any("no collision geometry" in note and "palm" in note for note in notes)
    assert "no collision geometry" in (tmp_path / "out" / "hand.yaml").read_text()


def test_a_changed_urdf_is_read_again(tmp_path: Path) -> None:
    urdf = tmp_path / "hand.urdf"
    urdf.write_text(QUAD.read_text())
    hand_tree(urdf, "palm")
    urdf.write_text(QUAD.read_text().replace('name="palm"', 'name="wrist"').replace('link="palm"', 'link="wrist"'))
    with pytest.raises(UdgError, match="no link 'palm'"):
        hand_tree(urdf, "palm")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ways=st.lists(st.sampled_from(sorted({**REFUSED, **TAKEN})), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 10_000),
)
def test_no_description_ends_in_a_traceback_or_not_at_all(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, ways: list[str], seed: int
) -> None:
    urdf = folder / "generated.urdf"
    urdf.write_text(broken(ways, Random(seed)), encoding="utf-8")
    out = tmp_path_factory.mktemp("out") / "hand.yaml"
    start = time.process_time()
    try:
        _describe(urdf, out)
    except UdgError as error:
        assert urdf.name in str(error) and list(out.parent.iterdir()) == [], ways
    assert time.process_time() - start < 30.0


@pytest.mark.skipif(not CASES.is_dir(), reason="the collection of cases is not here")
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("12_hand_urdf_traceback/broken", "not valid XML"),
        ("12_hand_urdf_traceback/empty", "not valid XML"),
        ("12_hand_urdf_traceback/childmissing", "did you mean 'thumb_distal'"),
        ("12_hand_urdf_traceback/mesh_garbage_obj", "garbage.obj"),
        ("12_hand_urdf_traceback/scale_comma", "three numbers"),
        ("12_hand_urdf_traceback/nonexistent", "cannot read"),
        ("13_hand_urdf_hang/cycle", "loop"),
        ("13_hand_urdf_hang/mm", "in mm"),
        ("14_hand_zero_mass/onezero", "0 kg"),
        ("19_hand_leftovers/zeroaxis", "axis is 0 0 0"),
    ],
)
def test_cases_of_users(tmp_path: Path, case: str, reason: str) -> None:
    assert reason in _check_refused(CASES / f"{case}.urdf", tmp_path / "out" / "hand.yaml")


@pytest.mark.skipif(not CASES.is_dir(), reason="the collection of cases is not here")
def test_a_hand_of_tips_alone_is_noted(tmp_path: Path) -> None:
    notes = _describe(CASES / "21_hand_no_collision" / "tips_only.urdf", tmp_path / "out" / "hand.yaml")
    assert any("palm" in note and "thumb_proximal" in note for note in notes)
