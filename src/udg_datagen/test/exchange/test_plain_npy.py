"""Pickled .npy dictionaries: data is read, code is refused and never run."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from udg_datagen.exchange.plain_npy import PlainFileError, load_plain

DATA: dict[str, Any] = {
    "robot_pose": np.linspace(0.0, 1.0, 24, dtype=np.float32).reshape(1, 2, 3, 4),
    "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big_endian": np.arange(3, dtype=">i4"),
    "none": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "names": np.array(["a", "bc"]),
    "objects": np.array([{"x": 1}, "b"], dtype=object),
    "scale": np.float64(0.06),
    "count": np.int64(-3),
    "path": "assets/ü",
    "config": {"list": [1, 2.5, None, True, 10**30], "pair": (1, "x")},
    "arrays": [np.ones(2), np.zeros((1, 1), dtype=np.uint8)],
}


def saved(path: Path, value: object, protocol: int = 3) -> Path:
    """As np.save does, with a protocol."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array(value, dtype=object), file, protocol=protocol)
    return path


def assert_same(a: Any, b: Any) -> None:  # noqa: ANN401
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype.newbyteorder("=") and a.shape == b.shape
        if a.dtype == object:
            for x, y in zip(a, b, strict=True):
                assert_same(x, y)
        else:
            np.testing.assert_array_equal(a, b)
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_comes_back_as_numpy_reads_it(protocol: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", DATA, protocol)
    assert_same(load_plain(path), np.load(path, allow_pickle=True).item())


def test_what_np_save_writes_comes_back(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", DATA)  # type: ignore[arg-type]
    assert_same(load_plain(tmp_path / "x.npy"), DATA)


class Harmful:
    """Runs a command when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:  # noqa: ANN401
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, os.mkdir, eval, exec])
def test_code_is_refused_by_name_and_not_run(function: object, protocol: int, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    arguments = {os.mkdir: str(mark), os.system: f"touch {mark}"}
    argument = arguments.get(function, f"open({str(mark)!r}, 'w')")  # type: ignore[call-overload]
    path = saved(tmp_path / "x.npy", {"a": Harmful(function, argument)}, protocol)
    with pytest.raises(PlainFileError, match=rf"x.npy: calls \w+.{function.__name__}, .*nothing was run"):  # type: ignore[attr-defined]
        load_plain(path)
    assert not mark.exists()


class Plain:
    """A class of somebody's own."""


@pytest.mark.parametrize("value", [Path("a"), {1, 2}, 1j, Plain(), np.dtype("f4"), np.float64, slice(1)])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_other_things_than_plain_data_are_refused(value: object, protocol: int, tmp_path: Path) -> None:
    with pytest.raises(PlainFileError, match="x.npy: "):
        load_plain(saved(tmp_path / "x.npy", {"a": value}, protocol))


def test_instructions_that_only_code_needs_are_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    for program in (b"cos\nsystem\n(S'true'\noR.", b"(S'true'\nios\nsystem\n.", b"P1\n.", b"\x80\x02\x82\x01."):
        (tmp_path / "x.npy").write_bytes(header.getvalue() + program)
        with pytest.raises(PlainFileError, match="x.npy: "):
            load_plain(tmp_path / "x.npy")


@pytest.mark.parametrize("keep", [0, 5, 60, 130, 200, 400, 900])
def test_a_truncated_file_is_refused(keep: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", DATA)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PlainFileError, match="x.npy: "):
        load_plain(path)


def test_no_damaged_byte_does_more_than_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", {"a": np.arange(4.0), "b": ["x", 1], "c": {"d": 2.5}})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(600):
        data = bytearray(whole)
        data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(bytes(data))
        try:
            load_plain(path)
        except PlainFileError:
            pass


def test_lists_that_name_each_other_again_and_again_are_refused(tmp_path: Path) -> None:
    value: list[object] = []
    for _ in range(40):
        value = [value, value]
    with pytest.raises(PlainFileError, match="more than"):
        load_plain(saved(tmp_path / "x.npy", {"a": value}))
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(PlainFileError, match="x.npy: "):
        load_plain(saved(tmp_path / "x.npy", {"a": loop}))


def test_an_array_of_numbers_is_no_dictionary(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(PlainFileError, match="valid: one dictionary"):
        load_plain(tmp_path / "x.npy")
