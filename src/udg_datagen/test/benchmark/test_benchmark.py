"""The command: any policy, any number of workers, any interruption."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from udg_datagen.benchmark import benchmark
from udg_datagen.benchmark.benchmark import tasks_of
from udg_datagen.benchmark.policies import entrants
from udg_datagen.benchmark.protocol import PROTOCOLS, Protocol, facts_of, protocol_of, seen_of
from udg_datagen.benchmark.rows import NOT_RUN, ROWS_NAME, Row, Rows, read
from udg_datagen.benchmark.worker import BenchmarkWorker, Task
from udg_datagen.evaluation.trials import RolloutConfig
from udg_datagen.workers import run_job
from udg_description.errors import UdgError
from udg_description.files import one_writer
from udg_sim.objects.library import HELD_OUT, ObjectLibrary

pytestmark = pytest.mark.usefixtures("importable")


def command(out: Path, *options: str) -> None:
    benchmark.run(["--protocol", "smoke", "--objects", "cube_60", "--films", "0", "--out", str(out), *options])


def test_policies_that_fail_lose_their_trials_and_never_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    smoke = Protocol(name="smoke", objects="cube_60", trials=7, first_seed=0)
    monkeypatch.setitem(PROTOCOLS, "smoke", smoke)
    command(tmp_path / "a", "--policies", "bad_policies:Bad,bad_policies:Unmade", "--timeout", "40", "--workers", "2")
    said = capsys.readouterr()
    rows = read(tmp_path / "a" / ROWS_NAME)
    bad = {row.seed: row.cause for row in rows if row.policy.endswith("Bad")}
    assert bad == {
        0: "stalled",
        1: "policy_raised",
        2: "policy_invalid",
        3: "policy_invalid",
        4: "no_plan",
        5: "policy_hung",
        6: "policy_died",
    }
    assert {row.cause for row in rows if row.policy.endswith("Unmade")} == {"policy_raised"}
    assert "1 x bad_policies:Bad: policy_raised: RuntimeError: lost the thread" in said.err
    assert "7 x bad_policies:Unmade: policy_raised: FileNotFoundError: weights.bin" in said.err
    raised = next(row for row in rows if row.seed == 1)
    assert (raised.time_s, raised.frames, raised.mass_kg > 0) == (0.2, 0, True)
    last = json.loads(said.out.splitlines()[-1])
    assert last["policies"]["bad_policies:Bad"]["successes"] == 0 and last["not_run"] == 0


def test_one_worker_and_two_give_the_same_rows_and_the_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--policies", "bad_policies:Bad", "--trials", "3")
    command(tmp_path / "one", *options)
    command(tmp_path / "two", *options, "--workers", "2")
    one, two = ((tmp_path / name / ROWS_NAME).read_bytes() for name in ("one", "two"))
    assert one == two
    (tmp_path / "one" / ROWS_NAME).write_bytes(one[: one.rfind(b"bad_policies") + 30])  # killed in the last row
    command(tmp_path / "one", *options)
    assert (tmp_path / "one" / ROWS_NAME).read_bytes() == two
    assert (tmp_path / "one" / "index.html").read_text().count("<table>") == 5
    with pytest.raises(UdgError, match="holds trials with another protocol; give another --out"):
        command(tmp_path / "one", "--policies", "bad_policies:Bad", "--objects", "cube_60,soda_can")
    command(tmp_path / "one", *options, "--rules", "paper,reference")  # adds what is not there
    rows = read(tmp_path / "one" / ROWS_NAME)
    assert [row.policy for row in rows] == ["bad_policies:Bad"] * 3 + ["bad_policies:Bad [reference]"] * 3
    assert {row.mass_kg for row in rows[:3]} == {0.1296} and {row.mass_kg for row in rows[3:]} == {0.1}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--policies", "nobody"), "policy 'nobody' does not exist; valid: .*ours"),
        (("--policies", "nowhere:Policy"), "ModuleNotFoundError"),
        (("--policies", "bad_policies:Nobody"), "has no attribute 'Nobody'"),
        (("--policies", "bad_policies:Half"), "has no method act"),
        (("--policies", "ours:/nowhere"), "no such checkpoint"),
        (("--policies", ","), "no policy in"),
        (("--objects", "cube_61"), "not in the library"),
        (("--objects", "nowhere.obj@0.1"), "is no file"),
        (("--protocol", "long"), "protocol 'long' does not exist; valid: paper, quick, smoke"),
        (("--rules", "mine"), "rules 'mine' do not exist; valid: paper, reference"),
        (("--trials", "0"), "trials 0 must be at least 1"),
        (("--workers", "0"), "--workers at least 1"),
    ],
)
def test_what_cannot_be_run_is_named_before_the_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, str], says: str
) -> None:
    monkeypatch.setattr(benchmark, "open_pool", None)
    with pytest.raises(UdgError, match=says):
        command(tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_not_here_is_named_before_the_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from udg_sim.objects import sources

    monkeypatch.setattr(sources, "is_present", lambda name: False)
    with pytest.raises(UdgError, match="`make objects FETCH="):
        benchmark.run(["--protocol", "paper", "--out", str(tmp_path / "out")])


def test_the_papers_protocol_has_600_objects_of_three_sizes_that_nobody_trains_on() -> None:
    library = ObjectLibrary()
    ids = library.ids(source=HELD_OUT)
    facts = facts_of(ids, library)
    assert len(ids) == 600 and len(PROTOCOLS["paper"].seeds) == 10
    assert [sum(one.size == size for one in facts.values()) for size in ("small", "medium", "large")] == [201, 200, 199]
    assert sum(one.seen for one in facts.values()) == 272
    trained_on = entrants("ours")[0].trained_on
    assert len(trained_on) > 100 and not set(ids) & set(trained_on)
    assert seen_of(trained_on[0], facts[ids[0]], trained_on) == "trained"


def test_a_policy_says_which_weights_it_has_and_what_it_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import bad_policies

    (before,) = entrants("bad_policies:Bad")
    monkeypatch.setattr(bad_policies.Bad, "digest", "weights 7", raising=False)
    monkeypatch.setattr(bad_policies.Bad, "trained_on", ["cube_60"], raising=False)
    (told,) = entrants("bad_policies:Bad")
    assert told.digest == f"{before.digest} weights 7" and told.trained_on == ("cube_60",) and not before.trained_on
    monkeypatch.setattr(bad_policies.Bad, "trained_on", "cube_60", raising=False)
    with pytest.raises(UdgError, match="trained_on is 'cube_60'; valid: ids of objects"):
        entrants("bad_policies:Bad")


def test_a_label_is_the_name_of_a_policy_in_the_tables(tmp_path: Path) -> None:
    command(tmp_path, "--policies", "short=bad_policies:Bad,bad_policies:Bad", "--trials", "1")
    assert sorted(row.policy for row in read(tmp_path / ROWS_NAME)) == ["bad_policies:Bad", "short"]
    with pytest.raises(UdgError, match="short names two of them; valid: another LABEL=POLICY"):
        entrants("short=bad_policies:Bad,short=bad_policies:Unmade")
    with pytest.raises(UdgError, match="policy 'ourz' does not exist"):
        entrants("short=ourz")
    with pytest.raises(UdgError, match=r"policy 'a/b=ours' does not exist"):  # not a label
        entrants("a/b=ours")


def test_policies_may_have_different_numbers_of_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(tmp_path, "--policies", "bad_policies:Bad", "--trials", "1")
    command(tmp_path, "--policies", "bad_policies:Bad", "--trials", "2")
    settings = (tmp_path / "benchmark.json").read_bytes()
    monkeypatch.setattr(benchmark, "git_hash", lambda: "f" * 40)
    command(tmp_path, "--policies", "bad_policies:Bad", "--trials", "2")  # nothing is left to do by this code
    assert (tmp_path / "benchmark.json").read_bytes() == settings
    command(tmp_path, "--policies", "bad_policies:Unmade", "--trials", "1")
    assert json.loads((tmp_path / "benchmark.json").read_text())["policies"]["bad_policies:Unmade"]["code"] == [
        "f" * 40
    ]
    rows = read(tmp_path / ROWS_NAME)
    assert [row.policy for row in rows] == ["bad_policies:Bad"] * 2 + ["bad_policies:Unmade"]
    assert json.loads((tmp_path / "benchmark.json").read_text())["protocol"]["trials"] == 2


def test_a_folder_that_another_run_writes_to_is_refused(tmp_path: Path) -> None:
    with one_writer(tmp_path), pytest.raises(UdgError, match="another run is writing there"):
        command(tmp_path, "--policies", "bad_policies:Bad")


def test_trials_of_a_checkpoint_that_has_changed_are_not_run(tmp_path: Path) -> None:
    shipped, other = (Path(str(resources.files("udg_policy") / "data" / "edge" / name)) for name in ("", "again"))
    folder = tmp_path / "train"
    shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns("again"))
    (entrant,) = entrants(f"ours_once:{folder}")
    worker = BenchmarkWorker({entrant.name: entrant}, RolloutConfig(limit_s=0.1, whole_images=False))
    (task,) = tasks_of(replace(protocol_of("smoke"), objects="cube_60"), [entrant], ObjectLibrary())
    for path in other.iterdir():  # the training goes on
        shutil.copy(path, folder / path.name)
    outcome = run_job(worker, task)
    assert outcome.failure == "error" and "holds other weights than at the start" in outcome.message
    assert benchmark._row(task, outcome, benchmark.Cost()).cause == NOT_RUN


def test_what_a_policy_says_is_written_whatever_it_is(tmp_path: Path) -> None:
    (task,) = tasks_of(replace(protocol_of("smoke"), objects="cube_60"), entrants("planner"), ObjectLibrary())
    row = task.row(cause="policy_raised", note="no file b\udcff,\n\x00here")
    rows = Rows(tmp_path)
    rows.add(row)
    assert read(tmp_path / ROWS_NAME) == [row] and row.note == "no file b , here"


@pytest.mark.slow
def test_a_row_does_not_depend_on_the_trials_before_it() -> None:
    """Ours, with its attempts, and the planner, on two objects each, forwards and backwards in two workers."""
    policies = entrants("ours,planner")
    protocol = replace(protocol_of("smoke"), objects="cube_60,cylinder_60")
    tasks = tasks_of(protocol, policies, ObjectLibrary())
    config = RolloutConfig(whole_images=False, end_decided=True)

    def rows(order: Sequence[Task]) -> list[Row]:
        worker = BenchmarkWorker({one.name: one for one in policies}, config)
        return sorted((worker(task).row for task in order), key=lambda row: row.key)

    assert len(tasks) == 4 and rows(tasks) == rows(tasks[::-1])
