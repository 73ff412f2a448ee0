"""The manifest agrees with the objects, the test set is held out, balanced and of known licences."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from udg_description.errors import UdgError
from udg_sim.objects import sources
from udg_sim.objects.categories import category_of
from udg_sim.objects.library import HELD_OUT, OWN, ObjectLibrary, centred, entries, geometry_key
from udg_sim.objects.manifest import manifest, parse, text
from udg_sim.objects.sources import SourceError

RECORDS = manifest()
FOREIGN = sorted({r.source for r in RECORDS.values()} - set(OWN))


def _sample(source: str, step: int) -> list[str]:
    return [r.id for r in RECORDS.values() if r.source == source][::step]


def test_manifest_survives_writing_and_reading() -> None:
    written = text(RECORDS.values())
    assert len(written) < 1e6
    assert parse(written) == RECORDS


def test_a_damaged_manifest_is_refused() -> None:
    head, first = text(RECORDS.values()).splitlines()[:2]
    with pytest.raises(UdgError, match="columns"):
        parse(head.replace("mass_kg", "mass") + "\n" + first)
    with pytest.raises(UdgError, match="plausible"):
        parse(head + "\n" + first.replace(",0.03,", ",30,", 1))


def test_manifest_lists_exactly_the_objects_of_the_library() -> None:
    listed = {e.id: (e.source, e.category, e.split, e.size_class, e.quick) for e in entries() if e.source != "user"}
    assert {r.id: (r.source, r.category, r.split, r.size_class, r.quick) for r in RECORDS.values()} == listed


def test_there_are_a_thousand_training_and_six_hundred_held_out_objects() -> None:
    library = ObjectLibrary()
    assert len(library.ids(split="train")) >= 950
    test = library.ids(split="test", source=HELD_OUT)
    assert len(test) == 600
    sizes = Counter(RECORDS[id].size_class for id in test)
    assert min(sizes.values()) >= 180
    assert min(Counter(RECORDS[id].seen for id in test).values()) >= 200


def test_no_source_and_no_file_is_in_both_splits() -> None:
    held_out = {r.path for r in RECORDS.values() if r.source in HELD_OUT}
    assert len(held_out) == 600
    assert all(r.split == "test" for r in RECORDS.values() if r.source in HELD_OUT)
    training = {r.category for r in RECORDS.values() if r.split == "train"}
    assert all(r.seen == (r.category in training) for r in RECORDS.values())


def test_quick_test_subset_is_balanced() -> None:
    quick = [RECORDS[id] for id in ObjectLibrary().ids(split="test", quick=True)]
    assert 30 <= len(quick) <= 60
    assert len(set(Counter((r.size_class, r.seen) for r in quick).values())) == 1
    assert len(Counter((r.size_class, r.seen) for r in quick)) == 6


def test_every_object_has_a_licence_that_allows_use_and_an_author() -> None:
    assert {r.licence for r in RECORDS.values()} == {"Apache-2.0", "CC0-1.0", "CC-BY-3.0", "Zlib"}
    assert all(r.author for r in RECORDS.values() if r.licence == "CC-BY-3.0")


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Wheelchair", "wheelchair"),
        ("Baby high chair", "chair"),
        ("Armchair", "sofa"),
        ("Spray bottle", "spray_bottle"),
        ("Wine bottle", "bottle"),
        ("Apple iPhone", "apple_iphone"),
        ("Apples", "fruit"),
        ("Desk lamp", "desk_lamp"),
        ("Cup cake", "cup_cake"),
        ("Hammer", "hammer"),
        ("Flower box", "planter"),
        ("Basketball", "ball"),
    ],
)
def test_names_are_put_into_the_categories_of_training_only_where_they_belong(name: str, category: str) -> None:
    assert category_of(name) == category


def test_vehicles_are_never_seen() -> None:
    assert category_of("Seat Leon", vehicle=True) == "seat_leon"


@pytest.mark.parametrize("source", OWN)
def test_own_objects_are_those_of_the_manifest(source: str) -> None:
    for id in _sample(source, 9 if source == "builtin" else 97):
        model, record = ObjectLibrary().get(id), RECORDS[id]
        assert model.mass_kg == pytest.approx(record.mass_kg, rel=1e-4), id
        assert model.mesh.extents.max() == pytest.approx(record.longest_edge_m, rel=1e-4), id
        assert model.mesh.volume == pytest.approx(record.volume_m3, rel=1e-3), id
        assert (model.size_class, model.source) == (record.size_class, source), id


def _skip_without(source: str) -> None:
    if not sources.is_present(source):
        pytest.skip(f"source {source} is not on this machine: make objects FETCH={source}")


@pytest.mark.parametrize("source", FOREIGN)
def test_meshes_of_others_are_those_of_the_manifest(source: str) -> None:
    _skip_without(source)
    for id in _sample(source, 200):
        record = RECORDS[id]
        mesh = sources.load_repaired(source, record.path).mesh
        mesh.apply_scale(record.longest_edge_m / mesh.extents.max())
        assert mesh.is_watertight and mesh.body_count == 1, id
        if geometry_key(centred(mesh)) != record.key:  # the wrapping rounds otherwise on this platform
            assert mesh.volume == pytest.approx(record.volume_m3, rel=0.03), id


@pytest.mark.slow
@pytest.mark.parametrize("source", FOREIGN)
def test_objects_of_others_are_those_of_the_manifest(source: str) -> None:
    _skip_without(source)
    for id in _sample(source, 200):
        model, record = ObjectLibrary().get(id), RECORDS[id]
        np.testing.assert_allclose(model.mesh.center_mass, 0, atol=1e-6)
        assert model.mesh.extents.max() == pytest.approx(record.longest_edge_m, rel=1e-6), id
        assert model.mass_kg == record.mass_kg, id
        assert 0.9 < sum(part.volume for part in model.convex_parts) / model.mesh.volume < 2.5, id


def test_absent_sources_are_an_error_that_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "INSTALLED", tmp_path / "not installed")
    sources.forget()
    try:
        assert not sources.is_present("sweethome3d")
        library = ObjectLibrary()
        (id, *_) = library.ids(split="test", source="sweethome3d")
        with pytest.raises(SourceError, match="make objects FETCH=sweethome3d"):
            library.get(id)
        assert library.get("cube_30").mass_kg > 0
    finally:
        sources.forget()
