"""Files that appear whole or not at all, and what is said where they cannot."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from udg_description.errors import explain
from udg_description.files import (
    PathError,
    atomic_path,
    check_file,
    check_folder,
    next_free,
    one_writer,
    optional_path,
    user_path,
    whole_folder,
    write_arrays,
    write_atomically,
    write_together,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(path: Path, text: str, **options: str) -> None:
    with whole_folder(path, **options) as work:
        (work / "result.json").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_modes_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", b"1")
        write_arrays(tmp_path / "b.npz", {"x": np.zeros(3)})
        with atomic_path(tmp_path / "c.txt") as temporary:
            temporary.write_text("1", encoding="utf-8")
        fill(tmp_path / "d", "1")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"a": 0o666 & ~umask, "b.npz": 0o666 & ~umask, "c.txt": 0o666 & ~umask, "d": 0o777 & ~umask}


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert path.read_text(encoding="utf-8") == "old" and names(tmp_path) == ["a.txt"]


def test_files_that_belong_together_are_replaced_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_together(tmp_path, {"a": b"old", "b": b"old"})
    flush, flushed = os.fsync, []

    def full(number: int) -> None:
        flushed.append(number)
        if len(flushed) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(number)

    with monkeypatch.context() as patch:
        patch.setattr("udg_description.files.os.fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            write_together(tmp_path, {"a": b"new", "b": b"new"})
    assert caught.value.filename == str(tmp_path / "b")
    assert names(tmp_path) == ["a", "b"] and {(tmp_path / name).read_bytes() for name in "ab"} == {b"old"}
    write_together(tmp_path, {"a": b"new", "b": b"new"})
    assert names(tmp_path) == ["a", "b"] and {(tmp_path / name).read_bytes() for name in "ab"} == {b"new"}


def test_an_error_of_the_disk_has_the_name_that_the_user_knows(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x.bin", tmp_path / "absent" / "x.bin"):
        with pytest.raises(OSError) as caught:
            write_atomically(path, b"1")
        assert caught.value.filename == str(path)
        assert explain(caught.value).startswith(f"{path}: ")
    assert names(tmp_path) == ["file"]


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120 + ".npz")  # 244 bytes of 255
    write_arrays(path, {"x": np.arange(3)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(path.read_bytes())
    assert np.array_equal(np.load(path)["x"], np.arange(3)) and names(tmp_path) == [path.name]


def test_every_kind_of_failure_has_a_remedy(tmp_path: Path) -> None:
    for number in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT):
        line = explain(OSError(number, os.strerror(number), str(tmp_path)))
        assert line.startswith(f"{tmp_path}: ") and "\n" not in line
    assert "free some" in explain(OSError(errno.ENOSPC, "x"), tmp_path)


def test_a_folder_appears_whole_and_is_not_replaced_by_mistake(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    fill(out, "one")
    with pytest.raises(PathError, match="is there already"):
        fill(out, "two")
    assert (out / "result.json").read_text(encoding="utf-8") == "one"
    fill(out, "two", replace="result.json")
    assert (out / "result.json").read_text(encoding="utf-8") == "two"
    assert names(out.parent) == ["out"] and names(out) == ["result.json"]


def test_an_error_leaves_nothing_new_and_keeps_the_old_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "old")
    with pytest.raises(ZeroDivisionError), whole_folder(out, replace="result.json") as work:
        (work / "result.json").write_text("new", encoding="utf-8")
        raise ZeroDivisionError
    assert (out / "result.json").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["out"]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(PathError, match=re.escape(str(tmp_path))):
        fill(tmp_path, "x", replace="result.json")
    assert names(tmp_path) == ["thesis.tex"]


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OSError, match="out"), whole_folder(out) as work:
        (work / "result.json").write_text("mine", encoding="utf-8")
        fill(out, "theirs")
    assert (out / "result.json").read_text(encoding="utf-8") == "theirs" and names(tmp_path) == ["out"]


def test_what_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(PathError, match="a file is in the place of a folder"):
            check_folder(path)
    check_folder(tmp_path / "new" / "deep")
    assert names(tmp_path) == ["file"]
    (tmp_path / "new").mkdir()
    with pytest.raises(PathError, match="--force"):
        check_file(tmp_path / "file")
    with pytest.raises(PathError, match="is a folder"):
        check_file(tmp_path / "new", force=True)
    assert check_file(tmp_path / "file", force=True) == tmp_path / "file"


def test_the_next_free_name(tmp_path: Path) -> None:
    assert next_free(tmp_path / "sim") == tmp_path / "sim"
    (tmp_path / "sim").mkdir()
    assert next_free(tmp_path / "sim") == tmp_path / "sim"  # empty
    (tmp_path / "sim" / "x").touch()
    (tmp_path / "sim-2").mkdir()
    (tmp_path / "sim-2" / "x").touch()
    assert next_free(tmp_path / "sim") == tmp_path / "sim-3"
    (tmp_path / "mug.png").touch()
    with pytest.raises(PathError, match="a file is in the place of a folder"):
        next_free(tmp_path / "mug.png")
    assert next_free(tmp_path / "mug", ".npz", ".png") == tmp_path / "mug-2"
    assert next_free(tmp_path / "mug", ".npz") == tmp_path / "mug"


def test_the_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/x") == tmp_path / "x" and user_path("a~/x") == Path("a~/x")
    assert optional_path("~/x") == str(tmp_path / "x") and optional_path("") == ""
    with pytest.raises(PathError, match="zero character"):
        user_path("a\0b")


def test_one_run_at_a_time_writes_to_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with one_writer(folder):
        with pytest.raises(PathError, match="out: another run is writing there"), one_writer(folder):
            pass
        assert folder.is_dir()  # the other one, refused, has not removed it
    assert not folder.exists()  # nothing was written
    with one_writer(folder):
        (folder / "rows.csv").touch()
    with one_writer(folder):  # free again
        assert (folder / "rows.csv").exists()


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    """A run that was killed keeps nobody out."""
    program = (
        "import pathlib, sys, time; from udg_description.files import one_writer\n"
        "with one_writer(pathlib.Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "locked\n"
        with pytest.raises(PathError, match="another run"), one_writer(tmp_path):
            pass
        other.kill()
        other.wait()
    with one_writer(tmp_path):
        pass


def test_a_folder_to_write_to_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PathError, match="file"), one_writer(tmp_path / "file" / "out"):
        pass
