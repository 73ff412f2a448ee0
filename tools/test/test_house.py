"""The numbers of the house, on a small house whose arrows are known, and its picture."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import house  # noqa: E402
import house_picture  # noqa: E402

SOURCES = {
    "udg_sim/__init__.py": "",
    "udg_sim/errors.py": "",
    "udg_sim/depth/__init__.py": "from udg_sim.depth.noise import Noise\n",
    "udg_sim/depth/noise.py": "import os\nfrom udg_sim import errors\nos.replace('a', 'b')\n",
    "udg_sim/world/physics.py": "from udg_sim.depth import Noise\n'36'; x = 36\n",
    "udg_sim/world/clock.py": "from udg_sim.world.physics import x\n_NS_PER_S = 1_000_000_000\n'a'.replace('a', 'b')\n",
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    for name, source in SOURCES.items():
        path = tmp_path / "src" / "udg_sim" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return house.modules(tmp_path)


def test_arrows_go_to_where_a_name_is_defined(files: dict[str, Path]) -> None:
    arrows = house.module_arrows(files)
    assert arrows == {
        "udg_sim.errors": set(),
        "udg_sim.depth.noise": {"udg_sim.errors"},
        "udg_sim.world.physics": {"udg_sim.depth.noise"},
        "udg_sim.world.clock": {"udg_sim.world.physics"},
    }
    rooms = {
        "udg_sim.errors": set(),
        "udg_sim.depth": {"udg_sim.errors"},
        "udg_sim.world": {"udg_sim.depth"},
    }
    assert house.room_arrows(arrows) == rooms


def test_circles_are_those_that_reach_one_another() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert house.circles(arrows) == [["b", "c"]]
    assert house.circles({"a": {"b"}, "b": {"a", "c"}, "c": {"a"}}) == [["a", "b", "c"]]


def test_what_is_repeated_is_counted(files: dict[str, Path]) -> None:
    counts = house.basics(files)
    assert counts["files put in place by hand"] == (1, 1)
    assert counts["36 as a number"] == (1, 1)
    assert counts["names for 1e9 ns a second"] == (1, 1)
    assert counts["ValueError raised"] == (0, 0)


def test_a_room_stands_above_all_that_it_imports() -> None:
    arrows = {"p.a": set(), "p.b": {"p.a"}, "p.c": {"p.a", "p.b"}}
    assert house_picture.floors(arrows) == [["p.a"], ["p.b"], ["p.c"]]
    assert house_picture.shortened(arrows)["p.c"] == {"p.b"}  # that one goes by way of b anyway


def test_the_picture_of_the_docs_shows_every_room() -> None:
    files = house.modules(ROOT)
    drawn = (ROOT / "docs" / "pictures" / "house.svg").read_text(encoding="utf-8")
    for name in {house.room_of(module) for module in files}:
        if name not in files:
            assert f">{name.split('.')[1]}<" in drawn, f"docs/pictures/house.svg does not show {name}: make house"


def test_constants_of_one_name_and_value_in_several_modules_are_counted() -> None:
    one = "_STEP_S = 0.1\nCOUNT = 1\nT = TypeVar('T')\nMASS_KG: tuple = (0.005, 0.9)\nlower = 5\n"
    assert house.constants(one) == {("STEP_S", "0.1"), ("MASS_KG", "(0.005, 0.9)")}
    assert house.constants_again([one, "STEP_S = 0.1\nMASS_KG = (0.005, 0.8)\n", "STEP_S = 0.1"]) == (1, 3)
    assert house.constants_again([one]) == (0, 0)
