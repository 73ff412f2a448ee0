"""Success against frames, from folders of results."""

import json
from pathlib import Path

import pytest

from udg_datagen.benchmark.benchmark_curve import run
from udg_datagen.benchmark.rows import ROWS_NAME, Row, write
from udg_description.errors import UdgError


def results(folder: Path, policy: str, successes: int) -> Path:
    """Four small unseen objects with a trial each; the generator lifts all."""
    folder.mkdir()
    write(
        folder / ROWS_NAME,
        [
            Row(
                policy=name,
                object=f"object {number}",
                seen="unseen",
                category="thing",
                size="small",
                seed=1,
                mass_kg=0.1,
                success=number < lifted,
                cause="" if number < lifted else "dropped",
                phase="",
                time_s=4.0,
                frames=40,
                refused=0,
                raised_m=0.2,
                final_m=0.2,
                x=0.6,
                y=0.0,
            )
            for name, lifted in ((policy, successes), ("planner", 4))
            for number in range(4)
        ],
    )
    return folder


def test_more_frames_lift_more_and_seeds_are_taken_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few, many, again = (results(tmp_path / name, f"ours:{name}", n) for name, n in (("a", 1), ("b", 4), ("c", 2)))
    out = tmp_path / "curve.png"
    run([f"{few}=5000", f"{many}=20000", f"{again}=20000", "--out", str(out)])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {frames: values[0] for frames, values in told["curve"]["unseen"].items()} == {"5000": 0.25, "20000": 0.75}
    assert told["generator"][0] == 1.0 and "seen" not in told["curve"]
    assert out.read_bytes().startswith(b"\x89PNG")


def test_files_of_trials_are_results_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def trials(name: str, lifted: int) -> Path:
        path = tmp_path / name
        rows = [
            {"object": name, "seed": 1, "success": number < lifted, "cause": "", "steps": 40, "position_xy": [0.6, 0.0]}
            | {"refused": 0, "raised_m": 0.2, "final_m": 0.2}
            for number, name in enumerate(("sh3d_box_2", "sh3d_shelves"))  # small: a seen one, an unseen one
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    short, long = trials("5.jsonl", 1), trials("20.jsonl", 2)
    run([f"{short}=5", f"{long}=20", "--against", "minutes", "--out", str(tmp_path / "curve.png")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {minutes: values[0] for minutes, values in told["curve"]["new objects"].items()} == {"5": 0.5, "20": 1.0}
    (tmp_path / "no.jsonl").write_text("[]\n")
    with pytest.raises(UdgError, match="no.jsonl: no trials"):
        run([f"{tmp_path / 'no.jsonl'}=5", "--out", str(tmp_path / "curve.png")])


def test_what_is_no_benchmark_is_named(tmp_path: Path) -> None:
    folder, out = results(tmp_path / "a", "ours", 1), str(tmp_path / "curve.png")
    with pytest.raises(UdgError, match="valid: RESULT=NUMBER"):
        run([str(folder), "--out", out])
    with pytest.raises(UdgError, match="has none for 'dp3'; valid: one of \\['ours', 'planner'\\]"):
        run([f"{folder}=5000", "--policy", "dp3", "--out", out])
    with pytest.raises(UdgError, match="cannot be read"):
        run([f"{tmp_path / 'nowhere'}=5000", "--out", out])
    with pytest.raises(UdgError, match="ends in .png"):
        run([f"{folder}=5000", "--out", str(tmp_path / "curve.txt")])


def test_a_line_where_all_trials_went_alike_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none, all_of = results(tmp_path / "none", "ours:none", 0), results(tmp_path / "all", "ours:all", 4)
    run([f"{none}=5000", f"{all_of}=20000", "--out", str(tmp_path / "curve.png")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["curve"]["unseen"]
    assert (told["5000"][0], told["20000"][0]) == (0.0, 1.0)
