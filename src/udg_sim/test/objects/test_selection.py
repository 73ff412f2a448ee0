"""The text that names objects: sets, sizes, counts, ids and files, each once; nonsense is refused."""

from collections import Counter
from pathlib import Path

import pytest

from udg_description.errors import UdgError
from udg_sim.objects import sources
from udg_sim.objects.library import HELD_OUT, SIZES, ObjectLibrary
from udg_sim.objects.manifest import manifest
from udg_sim.objects.selection import evenly, in_turn, select
from udg_sim.objects.sources import SourceError

LIBRARY = ObjectLibrary()


def _sizes(ids: list[str]) -> dict[str, int]:
    return dict(Counter(manifest()[id].size_class for id in ids))


def test_groups_take_turns() -> None:
    assert in_turn([["a", "b", "c"], [], ["x"]]) == ["a", "x", "b", "c"]
    assert in_turn([]) == []


def test_sets_take_the_sizes_in_turn() -> None:
    chosen = select("train:9, cube_60", LIBRARY)
    assert len(chosen) == 10 and chosen[-1] == "cube_60"
    assert _sizes(chosen[:9]) == {"small": 3, "medium": 3, "large": 3}
    assert select("test/large:2", LIBRARY) == LIBRARY.ids(split="test", size="large")[:2]


def test_held_out_objects_are_a_set_with_sizes_and_a_quick_part() -> None:
    every = select("held_out", LIBRARY, absent=True)
    assert len(every) == 600 and {manifest()[id].source for id in every} == set(HELD_OUT)
    assert _sizes(every[:30]) == {"small": 10, "medium": 10, "large": 10}
    for size in SIZES:
        of_size = select(f"held_out/{size}", LIBRARY, absent=True)
        assert set(of_size) == {id for id in every if manifest()[id].size_class == size}
    quick = select("held_out/quick", LIBRARY, absent=True)
    assert _sizes(quick) == {"small": 16, "medium": 16, "large": 16}
    assert all(manifest()[id].quick for id in quick)
    assert select("held_out/quick:5", LIBRARY, absent=True) == quick[:5]
    assert select("held_out/quick/small", LIBRARY, absent=True) == [
        id for id in quick if manifest()[id].size_class == "small"
    ]
    assert select("held_out/small/quick", LIBRARY, absent=True) == select("held_out/quick/small", LIBRARY, absent=True)


def test_own_and_other_peoples_test_objects_are_two_sets() -> None:
    test, held_out = (set(select(name, LIBRARY, absent=True)) for name in ("test", "held_out"))
    assert not test & held_out
    assert test | held_out | set(select("train", LIBRARY)) == set(select("all", LIBRARY, absent=True))


def test_quick_alone_is_the_quick_part_of_all() -> None:
    assert select("quick", LIBRARY, absent=True) == select("all/quick", LIBRARY, absent=True)
    assert select("quick/small:3", LIBRARY, absent=True) == select("all/small/quick:3", LIBRARY, absent=True)


def test_compositions_are_a_set_of_any_size() -> None:
    assert select("compositions", LIBRARY) == [f"composition_{k:05d}" for k in range(300)]
    assert select("compositions:1000", LIBRARY)[-1] == "composition_00999"
    assert select("compositions/large:200", LIBRARY)[-1] == "composition_00599"
    assert select("composition_123456", LIBRARY) == ["composition_123456"]


def test_train_stays_what_it_was_and_train_plus_mixes_compositions_in() -> None:
    train, mixed = select("train", LIBRARY), select("train+", LIBRARY)
    assert not any(id.startswith("composition") for id in train)
    assert set(mixed) == {*train, *select("compositions", LIBRARY)}
    share = sum(id.startswith("composition") for id in mixed[:90]) / 90
    assert 0.15 < share < 0.3  # 300 of 1,306
    assert _sizes(mixed[:90]) == {"small": 30, "medium": 30, "large": 30}
    assert evenly("abcd", "xy") == ["a", "x", "b", "c", "y", "d"]


def test_files_and_ids_go_as_they_are_and_each_once() -> None:
    assert select("a/mesh.obj@0.1", LIBRARY, absent=True) == ["a/mesh.obj@0.1"]
    assert select("train/mesh.stl@0.2, cube_60,, cube_60,bottle_4711", LIBRARY, absent=True) == [
        "train/mesh.stl@0.2",
        "cube_60",
        "bottle_4711",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "held_out"),
        (" , ", "held_out"),
        ("train:x", "'x' is no number"),
        ("train:", "'' is no number"),
        ("train:0", "'0' is no number"),
        ("held_out/quick:-1", "'-1' is no number"),
        ("train/huge", "small, medium, large"),
        ("held_out/", "small, medium, large"),
        ("held_out/small/large", "held_out/small,held_out/large"),
        ("heldout", "sets are train, test, held_out"),
        ("cube_61", "cube_60"),
        ("cube_60:3", "cube_60"),
        ("test/quick", "there is none"),
        ("user_teapot_123456", "ADD="),
        ("composition_17", "composition_00017"),
        ("compositions/quick", "there is none"),
    ],
)
def test_nonsense_is_refused_with_what_would_be_valid(text: str, message: str) -> None:
    with pytest.raises(UdgError, match=message):
        select(text, LIBRARY)


def test_added_meshes_are_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path))
    with pytest.raises(UdgError, match="make objects ADD="):
        select("user", ObjectLibrary())


def test_objects_whose_files_are_absent_are_an_error_that_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "INSTALLED", tmp_path / "not installed")
    sources.forget()
    try:
        with pytest.raises(SourceError, match="make objects FETCH=sweethome3d,myosuite"):
            select("held_out/quick", LIBRARY)
        with pytest.raises(SourceError, match="1 of the 2 objects .*FETCH=myosuite`"):
            select("cube_60,myo_mug", LIBRARY)
        assert select("train:3", LIBRARY) == select("train", LIBRARY)[:3]
    finally:
        sources.forget()
