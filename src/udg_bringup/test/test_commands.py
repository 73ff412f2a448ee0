"""One name for all commands, and what README and docs print of them exists."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

from udg_bringup import commands as module
from udg_bringup.commands import COMPLETION, commands, completion, overview, run
from udg_description.errors import UdgError

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))
COMMAND_LINE = re.compile(
    r"(?:^ *|[|;&] *|[A-Z]=\S+ +|(?<=\s)(?=python))(make|udg|python -m) +([a-z][\w.-]*)([^`\n|;&]*)"
)


@lru_cache(maxsize=64)
def help_of(name: str, called: str) -> str:
    """What a command says to --help, in this process."""
    import contextlib
    import io

    said = io.StringIO()
    argv = sys.argv
    sys.argv = [called, "--help"]
    try:
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
            importlib.import_module(name).main()
        assert ended.value.code in (0, None)
    finally:
        sys.argv = argv
    return said.getvalue()


def printed() -> list[tuple[str, str, str, str]]:
    """(page, kind, name, rest) of each command in the pages' code."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        code = re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, re.S) + re.findall(r"`([^`\n]+)`", text)
        for block in code:
            for line in block.splitlines():
                line = line.split(" #")[0]
                found += [(page.name, *match) for match in COMMAND_LINE.findall(line)]
    return found


@pytest.mark.parametrize("name", commands())
def test_every_command_tells_of_itself(name: str) -> None:
    command = commands()[name]
    text = help_of(command.module, f"udg {name}")
    assert text.startswith(f"usage: udg {name} "), text[:200]


def test_the_table_of_contents_and_completion_name_all() -> None:
    for name in commands():
        assert f"\n  {name} " in overview()
    for shell in COMPLETION:
        assert set(commands()) <= set(re.split(r"[\s\"']", completion(shell)))
    lines = subprocess.run(
        ["bash", "-c", f"{completion('bash')}; complete -p udg"], capture_output=True, text=True, check=True
    ).stdout
    assert "grasps" in lines


def test_a_mistyped_command_is_answered_with_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UdgError, match=r"no command 'grasp'; valid: .*grasps"):
        run(["grasp"])
    with pytest.raises(UdgError, match="no shell 'tcsh'; valid: bash"):
        run(["completion", "tcsh"])
    assert run([]) == 0 and "Objects and grasps" in capsys.readouterr().out


def test_the_makefile_calls_commands_that_exist() -> None:
    called = set(re.findall(r"exec udg ([a-z-]+)", MAKEFILE))
    assert called and called <= set(commands())


@pytest.mark.parametrize(("page", "kind", "name", "rest"), sorted(set(printed())))
def test_what_the_pages_print_exists(page: str, kind: str, name: str, rest: str) -> None:
    """Target, command or module, and each of its options."""
    if kind == "make":
        assert name in TARGETS, f"{page}: make {name}: no such target"
        return
    if kind == "udg":
        assert name in {*commands(), "completion"}, f"{page}: udg {name}: no such command"
        target = commands()[name].module if name in commands() else ""
    else:
        if not name.startswith("udg_"):
            return
        assert importlib.util.find_spec(name) is not None, f"{page}: python -m {name}: no such module"
        target = name if importlib.util.find_spec(name).submodule_search_locations is None else f"{name}.__main__"  # type: ignore[union-attr]
    options = re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", rest)
    if target and options and "." in target and ".ros." not in target:
        text = help_of(target, f"udg {name}")
        for option in options:
            assert re.search(rf"{option}\b", text), f"{page}: {kind} {name} {option}: no such option"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_serial_numbers_on_a_command_line_stay_text(page: Path) -> None:
    for written in re.findall(r"-p serial_number:=(\S+)", page.read_text(encoding="utf-8")):
        (word,) = shlex.split(written)
        assert isinstance(yaml.safe_load(word), str), f"{page.name}: {written}: ROS reads a number"


class Asked(Exception):  # noqa: N818
    """What a command was asked for, in place of its work."""


def test_paths_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    from udg_bringup import compose, fault_table, real

    def tell(config: object) -> None:
        raise Asked(config)

    def asked_of_robot(*words: str) -> real.RealGraphConfig:
        monkeypatch.setattr(sys, "argv", ["robot", *words])
        with pytest.raises(Asked) as asked:
            real._main()
        return asked.value.args[0]

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)  # not the checkout: the shipped configuration is found
    monkeypatch.setattr(real, "real_graph", tell)
    robot = asked_of_robot("--checkpoint", "~/policy", "--emulator-log", "~/log")
    assert (robot.checkpoint, robot.emulator_log) == (f"{tmp_path}/policy", f"{tmp_path}/log")
    assert asked_of_robot("--checkpoint", "").checkpoint == asked_of_robot().emulator_log == ""
    parser = argparse.ArgumentParser()
    compose.add_graph_arguments(parser)
    names = ("checkpoint", "camera_config", "settings")
    words = [word for name in names for word in (f"--{name.replace('_', '-')}", f"~/{name}")]
    given, default = parser.parse_args(words), parser.parse_args([])
    assert [getattr(given, name) for name in names] == [str(tmp_path / name) for name in names]
    assert [getattr(default, name) for name in names] == ["", "", ""]
    monkeypatch.setattr(sys, "argv", ["fault-table", "--config", "~/cell"])
    assert fault_table._options().config == tmp_path / "cell"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, by GitHub's rule."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_tests_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}: no such file"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page.name}: {link}: no such heading"
    tests = {path.name for path in ROOT.glob("src/*/test/**/test_*.py")}
    for name in re.findall(r"`(test_\w+\.py)`", text):
        assert name in tests, f"{page.name}: {name}: no such test"


WRITTEN = [page for page in PAGES if "results" not in page.parts]  # by people, not by a command


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_is_wrapped_at_120(page: Path) -> None:
    """Code, tables, pictures and what a command writes (between bench:begin and bench:end) may be wider."""
    text = re.sub(r"```.*?```|<!-- bench:begin -->.*?<!-- bench:end -->", "", page.read_text("utf-8"), flags=re.S)
    for line in text.splitlines():
        if not line.startswith(("|", "![", "<", "    ")):
            assert len(re.sub(r"`[^`]*`", "``", line)) <= 120, line[:80]


def test_commands_are_known_by_one_name() -> None:
    modules = [command.module for group in module.COMMANDS.values() for command in group]
    assert len(set(modules)) == len(modules) and len(commands()) == len(modules)


def test_a_module_has_the_name_of_its_command() -> None:
    """Those of udg_bringup and the calibration have names of their own so far."""
    for name, command in commands().items():
        package, *_, last = command.module.split(".")
        if package in ("udg_sim", "udg_policy", "udg_datagen"):
            assert last.rstrip("_") == name.replace("-", "_"), f"udg {name}: {command.module}"
