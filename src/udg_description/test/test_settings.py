"""Settings from a file: only what differs, of the right type, by a name that exists."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest

from udg_description.errors import UdgError
from udg_description.settings import add_config, check_ranges, configured, load_overrides, override, setting


@dataclass(frozen=True)
class Inner:
    speed_m_s: float = 0.5
    names: tuple[str, ...] = ("a",)


@dataclass(frozen=True)
class Outer:
    count: int = 3
    quick: bool = False
    inner: Inner = field(default_factory=Inner)
    extra: dict[str, int] = field(default_factory=lambda: {"one": 1})

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UdgError(f"count is {self.count}, valid: at least 1")


def test_what_is_named_changes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("count: 5\ninner: {speed_m_s: 1, names: [b, c]}\nextra: {two: 2}\n")
    found = load_overrides(path, Outer(), "outer")
    assert found == Outer(5, False, Inner(1.0, ("b", "c")), {"one": 1, "two": 2})
    assert isinstance(found.inner.speed_m_s, float)
    path.write_text("")
    assert load_overrides(path, Outer(), "outer") == Outer()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"cuont": 5}, "outer: unknown key 'cuont'; valid are count, extra, inner, quick"),
        ({"inner": {"speed": 1}}, "outer.inner: unknown key 'speed'; valid are names, speed_m_s"),
        ({"inner": 3}, "outer.inner: expected a mapping, got 3"),
        ({"inner": {"names": "b"}}, "outer.inner.names: expected a list, got 'b'"),
        ({"inner": {"speed_m_s": "fast"}}, "outer.inner.speed_m_s: expected a number, got 'fast'"),
        ({"quick": 1}, "outer.quick: expected bool, got 1"),
        ({"count": True}, "outer.count: expected int, got True"),
        ({"count": 2.5}, "outer.count: expected int, got 2.5"),
        ({"count": 0}, "count is 0, valid: at least 1"),
    ],
)
def test_a_mistake_is_named_with_its_place(values: dict, says: str) -> None:
    with pytest.raises(UdgError) as refused:
        override(Outer(), values, "outer")
    assert str(refused.value) == says


@pytest.mark.parametrize("text", ["- 1", "{", "\x00"])
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UdgError, match=r"mine\.yaml"):
        load_overrides(path, Outer(), "outer")
    with pytest.raises(UdgError, match="nowhere.yaml: cannot be read"):
        load_overrides(tmp_path / "nowhere.yaml", Outer(), "outer")


@dataclass(frozen=True, kw_only=True)
class Gripper:
    speed: float = setting(0.5, "how fast it closes [rad/s]", 0.1, 2.0)
    name: str = setting("", "as the user calls it")
    rate_hz: int = setting(15, "states a second", choices=(5, 15, 30), dynamic=True)

    def __post_init__(self) -> None:
        check_ranges(self)


def test_a_setting_is_its_default_and_tells_what_it_is() -> None:
    speed, name, rate = fields(Gripper)
    assert (Gripper().speed, Gripper().name, Gripper().rate_hz) == (0.5, "", 15)
    assert dict(speed.metadata) == {"description": "how fast it closes [rad/s]", "range": (0.1, 2.0)}
    assert dict(name.metadata) == {"description": "as the user calls it"}
    assert rate.metadata["choices"] == (5, 15, 30) and rate.metadata["dynamic"]


@pytest.mark.parametrize("speed", [0.1, 2.0])
def test_the_ends_of_a_range_are_valid(speed: float) -> None:
    assert Gripper(speed=speed).speed == speed


@pytest.mark.parametrize("speed", [0.099, 2.001, float("nan"), float("inf")])
def test_what_is_outside_its_range_is_named(speed: float) -> None:
    with pytest.raises(UdgError, match=rf"Gripper: speed is {speed}; valid: 0.1 to 2.0"):
        Gripper(speed=speed)


def test_a_command_takes_its_settings_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gripper.yaml"
    path.write_text("speed: 1.5\n")
    parser = argparse.ArgumentParser()
    add_config(parser, Gripper(), "{speed: 1.0}")
    assert "overrides Gripper, e.g. {speed: 1.0};" in " ".join(parser.format_help().split())
    assert configured(parser.parse_args(["--config", str(path)]).config, Gripper(), "gripper").speed == 1.5
    assert configured(parser.parse_args([]).config, Gripper(name="a"), "gripper") == Gripper(name="a")
    path.write_text("sped: 1.5\n")
    with pytest.raises(UdgError, match="gripper: unknown key 'sped'; valid are name, rate_hz, speed"):
        configured(path, Gripper(), "gripper")
