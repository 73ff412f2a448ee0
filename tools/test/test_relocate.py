"""Scripts of a virtual environment start its Python wherever it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from relocate import relocate  # noqa: E402

SCRIPT = "import sys\nprint(sys.argv[1:], sys.executable)\n"


@pytest.mark.parametrize(
    "head",
    [
        "#!/old place/bin/python3\n",
        "#!/usr/bin/python\n",
        "#!/bin/sh\n'''exec' \"/old place/bin/python\" \"$0\" \"$@\"\n' '''\n",
    ],
)
@pytest.mark.parametrize("folder", ["plain", "with spaces ü (v2)", "it's"])
def test_a_script_starts_the_python_of_its_new_place(tmp_path: Path, folder: str, head: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    python = place / "python"
    python.symlink_to(sys.executable)
    script = place / "a script"
    script.write_text(head + SCRIPT, encoding="utf-8")
    script.chmod(0o755)
    assert relocate(script, str(python)) and not relocate(script, str(python))
    done = subprocess.run([str(script), "a b", "$c"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['a b', '$c'] ")
    assert script.stat().st_mode & 0o777 == 0o755


def test_what_is_no_script_of_python_stays(tmp_path: Path) -> None:
    for name, data in (("sh", b"#!/bin/sh\necho 1\n"), ("elf", b"\x7fELF\x02"), ("perl", b"#!/usr/bin/perl\n")):
        (tmp_path / name).write_bytes(data)
        assert not relocate(tmp_path / name, sys.executable)
        assert (tmp_path / name).read_bytes() == data
