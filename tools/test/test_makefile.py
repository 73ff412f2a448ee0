"""Variables of make: those of the target are taken, all others refused."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """What make would do."""
    return subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["sim", "TRAILS=3"],
            "make sim: no variable TRAILS; valid: ARGS CHECKPOINT OBJECT OBJECTS OUT POLICY PORT SEED TRIALS VIEW",
        ),
        (["sim", "EPISODES=3"], "no variable EPISODES"),
        (["grasps", "OBJEKT=mug"], "no variable OBJEKT"),
        (["clean", "X=1"], "valid: none"),
        (["demos", "OBJECT=a", "OBJECTS=b"], "OBJECT and OBJECTS are the same; give one"),
    ],
)
def test_a_variable_that_the_target_does_not_know_is_refused(words: list[str], told: str) -> None:
    done = make(*words)
    assert done.returncode == 2 and told in done.stderr and done.stdout == ""


@pytest.mark.parametrize("target", ["sim", "grasps", "demos", "objects", "bench-synthesis"])
@pytest.mark.parametrize("name", ["OBJECT", "OBJECTS"])
def test_the_object_may_be_given_in_the_singular_or_the_plural(target: str, name: str) -> None:
    done = make(target, f"{name}=mug_003")
    assert done.returncode == 0 and "mug_003" in done.stdout, done.stderr


def test_defaults_and_what_is_of_all_targets() -> None:
    assert '--object "cylinder_60"' in make("grasps").stdout
    assert "--objects" not in make("sim").stdout
    assert make("train", "UDG_CACHE=/x", "UDG_PYTHON=python3.12").returncode == 0
    assert make("sim", "data-info", "TRIALS=1", "DATA=x").returncode == 0


def test_every_variable_that_a_target_uses_is_one_of_its_own() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = re.findall(r"^VARS_([a-z-]+) := (.*)$", text, re.MULTILINE)
    known = {target: set(names.split()) for target, names in lines}
    recipes = re.findall(r"^([a-z-]+):[^=\n]*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert len(recipes) > 15
    for target, recipe in recipes:
        used = set(re.findall(r"\$\(([A-Z_]+)\)", recipe)) - {"ENV"}
        assert used <= known.get(target, set()), target
