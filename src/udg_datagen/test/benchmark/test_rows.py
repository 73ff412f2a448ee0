"""Rows on the disk: whole, in order, and what an interruption leaves behind."""

from dataclasses import replace
from pathlib import Path

import pytest

from udg_datagen.benchmark.rows import NOT_RUN, ROWS_NAME, Row, Rows, read, to_line, write
from udg_description.errors import UdgError


def row(policy: str = "ours", object: str = "mug", seed: int = 1, **others: object) -> Row:
    told = Row(
        policy=policy,
        object=object,
        seen="seen",
        category="cup, big",
        size="small",
        seed=seed,
        mass_kg=0.12,
        success=True,
        cause="",
        phase="lifted",
        time_s=4.3,
        frames=43,
        refused=0,
        raised_m=0.2,
        final_m=0.2,
        x=0.6,
        y=-0.1,
    )
    return replace(told, **others)  # type: ignore[arg-type]


def test_rows_come_back_as_they_were_and_in_one_order(tmp_path: Path) -> None:
    rows = [row(seed=2), row(policy="a:b", note='says "no", twice'), row(success=False, cause="dropped", phase="")]
    write(tmp_path / "rows.csv", rows)
    assert read(tmp_path / "rows.csv") == [rows[1], rows[2], rows[0]]


def test_a_row_is_there_as_soon_as_it_is_added_and_a_cut_one_is_done_again(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.add(row(seed=1))
    rows.add(row(seed=2))
    path = tmp_path / ROWS_NAME
    assert len(read(path)) == 2
    path.write_text(path.read_text() + to_line(row(seed=3))[:20])  # killed while it wrote
    again = Rows(tmp_path)
    assert row(seed=2).key in again and row(seed=3).key not in again
    again.add(row(seed=3))
    assert [one.seed for one in again.finish()] == [1, 2, 3] == [one.seed for one in read(path)]


def test_what_could_not_be_run_is_tried_again(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.add(row(cause=NOT_RUN, success=False))
    assert len(rows.finish()) == 1
    assert row().key not in Rows(tmp_path)


def test_another_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / ROWS_NAME).write_text("a,b\n1,2\n")
    with pytest.raises(UdgError, match="rows.csv: no rows of a benchmark"):
        Rows(tmp_path)
    write(tmp_path / ROWS_NAME, [row()])
    text = (tmp_path / ROWS_NAME).read_text().replace(",4.3,", ",soon,")
    (tmp_path / ROWS_NAME).write_text(text)
    with pytest.raises(UdgError, match="rows.csv:2: no row"):
        read(tmp_path / ROWS_NAME)
