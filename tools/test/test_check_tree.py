"""The rules of the source tree: each is broken on purpose."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import check_tree  # noqa: E402
import requirements  # noqa: E402


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with the seven packages, empty but for a setup.cfg with two requirements."""
    config = "[options]\ninstall_requires =\n    numpy>=1.26,<2\n    udg_description\n"
    for package in check_tree.ALLOWED_PACKAGES:
        (tmp_path / "src" / package / package / "ros").mkdir(parents=True)
        (tmp_path / "src" / package / "setup.cfg").write_text(config)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def problems_with(tree: Path, name: str, content: str) -> list[str]:
    """Add one file, return what the check says."""
    path = tree / name
    path.write_text(content)
    subprocess.run(["git", "add", "-A"], cwd=tree, check=True)
    return check_tree.problems(tree)


def test_declared_imports_and_those_of_the_description_pass(tree: Path) -> None:
    source = "import json\nimport numpy as np\nfrom udg_description import layout\nfrom . import x\n"
    assert problems_with(tree, "src/udg_sim/udg_sim/a.py", source) == []


@pytest.mark.parametrize("first", ["Returns the sum.", "Return the sum.", "Writes a file."])
def test_a_docstring_in_the_third_person_is_found(tree: Path, first: str) -> None:
    (found,) = problems_with(tree, "src/udg_sim/udg_sim/a.py", f'def f():\n    """{first}"""\n\n\nf()\n')
    assert "a.py:1: the docstring begins with" in found


def test_docstrings_that_say_what_is_done_or_returned_pass(tree: Path) -> None:
    source = 'def f():\n    """Write a file."""\n\n\ndef g():\n    """Sum of both."""\n\n\nf(g)\n'
    assert problems_with(tree, "src/udg_sim/udg_sim/a.py", source) == []


def test_siblings_may_not_import_each_other(tree: Path) -> None:
    (found,) = problems_with(tree, "src/udg_sim/udg_sim/a.py", "def f():\n    import udg_policy\n\n\nf()\n")
    assert "src/udg_sim/udg_sim/a.py:2" in found and "udg_policy" in found


def test_undeclared_packages_are_found_by_their_name_on_pypi(tree: Path) -> None:
    (found,) = problems_with(tree, "src/udg_sim/udg_sim/a.py", "import yaml\n")
    assert "yaml is not in install_requires of src/udg_sim/setup.cfg" in found


def test_ros_is_an_undeclared_import_of_the_core_and_none_of_the_nodes(tree: Path) -> None:
    assert problems_with(tree, "src/udg_sim/udg_sim/ros/node.py", "import rclpy\n") == []
    assert len(problems_with(tree, "src/udg_sim/udg_sim/a.py", "import rclpy\n")) == 1


def test_a_circle_of_imports_is_found_and_annotations_make_none(tree: Path) -> None:
    package = tree / "src/udg_sim/udg_sim"
    (package / "b.py").write_text("from udg_sim import a\n")
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from udg_sim import b\n"
    assert problems_with(tree, "src/udg_sim/udg_sim/a.py", typed) == []
    (found,) = problems_with(tree, "src/udg_sim/udg_sim/a.py", "def f():\n    from udg_sim.b import x\n\n\nf()\n")
    assert found.startswith("udg_sim.a, udg_sim.b: import one another")


def test_imports_of_modules_that_are_not_there_are_found(tree: Path) -> None:
    (found,) = problems_with(tree, "src/udg_sim/udg_sim/a.py", "from udg_description.gone import x\n")
    assert found == "src/udg_sim/udg_sim/a.py:1: imports udg_description.gone, which there is not"
    (tree / "src/udg_description/udg_description/__init__.py").write_text('"""Names."""')
    (found,) = problems_with(tree, "src/udg_sim/udg_sim/a.py", "from udg_description import gone\n")
    assert "imports udg_description.gone" in found
    (tree / "src/udg_description/udg_description/gone.py").write_text("")
    assert problems_with(tree, "src/udg_sim/udg_sim/a.py", "from udg_description.gone import x\n") == []


def test_a_file_without_ros_does_not_belong_to_ros(tree: Path) -> None:
    (found,) = problems_with(tree, "src/udg_sim/udg_sim/ros/status.py", "import json\n")
    assert found.startswith("src/udg_sim/udg_sim/ros/status.py: imports no ROS")


def test_tests_lie_in_the_room_of_what_they_test(tree: Path) -> None:
    (tree / "src/udg_sim/udg_sim/depth").mkdir()
    (tree / "src/udg_sim/udg_sim/depth/noise.py").write_text("")
    (tree / "src/udg_sim/test/depth").mkdir(parents=True)
    (tree / "src/udg_sim/test/light").mkdir()
    assert problems_with(tree, "src/udg_sim/test/depth/test_noise.py", "") == []
    (found,) = problems_with(tree, "src/udg_sim/test/test_noise.py", "")
    assert "tests a module of depth" in found
    (tree / "src/udg_sim/test/test_noise.py").unlink()
    (found,) = problems_with(tree, "src/udg_sim/test/light/test_lamp.py", "")
    assert "udg_sim has no room light" in found
    (tree / "src/udg_sim/test/light/test_lamp.py").unlink()
    (found,) = problems_with(tree, "src/udg_sim/test/test_depth_noise_law.py", "")
    assert "named by the room depth; valid: test/depth/" in found
    (tree / "src/udg_sim/test/test_depth_noise_law.py").unlink()
    (found,) = problems_with(tree, "src/udg_sim/test/test_sim_lamp.py", "")
    assert "named by the package; valid: test_<module>.py" in found


@pytest.mark.parametrize(
    ("source", "unused"),
    [
        ("def f():\n    pass\n", ["f"]),
        ("class A:\n    def g(self): ...\n\n\nA()\n", ["g"]),
        ("class A:\n    def g(self): ...\n\n\nA().g()\n", []),
        ('def f():\n    """Call g."""\n\n\ndef g(): ...\n\n\nprint("udg_sim.a:f")\n', ["g"]),
        ("def on_cleanup(): ...\n", []),
        ("A = B = 1\nC: int = 2\nD, E = 3, 4\nprint(B, D)\n", ["A", "C", "E"]),
        ('A = 1\nB = 2\n__all__ = ["B"]\n', ["A"]),
    ],
)
def test_what_nothing_but_tests_uses_is_found(tree: Path, source: str, unused: list[str]) -> None:
    (tree / "src/udg_sim/test").mkdir()
    (tree / "src/udg_sim/test/test_use.py").write_text("from udg_sim.a import f\n\nf()\n")
    found = problems_with(tree, "src/udg_sim/udg_sim/a.py", source)
    assert [re.search(r"uses (\w+)", line)[1] for line in found] == unused  # type: ignore[index]


def test_a_command_of_setup_cfg_uses_its_function(tree: Path) -> None:
    with (tree / "src/udg_sim/setup.cfg").open("a") as config:
        config.write("\n[options.entry_points]\nconsole_scripts =\n    udg_sim = udg_sim.a:start\n")
    assert problems_with(tree, "src/udg_sim/udg_sim/a.py", "def start(): ...\n") == []


def test_folders_of_one_machine_are_found(tree: Path) -> None:
    home = "/" + "home/somebody/udg"
    (found,) = problems_with(tree, "notes.md", f"fine: /control/home and ~/udg\nsee {home}\n")
    assert found.startswith("notes.md:2")


def test_large_files_are_found(tree: Path) -> None:
    (found,) = problems_with(tree, "large.bin", "\0" * (check_tree.MAX_BYTES + 1))
    assert found.startswith("large.bin: 8.0 MB")


def test_requirements_are_the_union_without_our_packages(tree: Path) -> None:
    config = "[options]\ninstall_requires =\n    numpy>=1.26,<2\n    sapien\n    udg_policy\n"
    (tree / "src/udg_sim/setup.cfg").write_text(config)
    assert requirements.runtime_requirements(tree / "src") == ["numpy>=1.26,<2", "sapien"]


def test_every_requirement_is_pinned() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    required = requirements.runtime_requirements(ROOT / "src")
    for name in ("dev", "ros"):
        lines = (ROOT / "tools" / f"requirements-{name}.txt").read_text().splitlines()
        required += [line for line in lines if line and not line.startswith("#")]
    names = {re.split("[<>;]", requirement)[0].lower().replace("_", "-") for requirement in required}
    assert names - pinned == set()
