"""Nothing is unpickled, nothing listens beyond this host by default."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from udg_bringup.graph import process_environment

REPOSITORY = Path(__file__).parents[3]
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}

SOCKETS = """
import os, sys, time
import rclpy
from std_msgs.msg import String
rclpy.init()
node = rclpy.create_node("listener")
node.create_subscription(String, "/x", print, 1)
node.create_publisher(String, "/y", 1)
end = time.monotonic() + 0.3
while time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.05)
ours = set()
for name in os.listdir("/proc/self/fd"):
    try:
        ours.add(os.readlink(f"/proc/self/fd/{name}"))
    except OSError:
        pass
for family in ("udp", "tcp"):
    for line in open(f"/proc/self/net/{family}").read().splitlines()[1:]:
        words = line.split()
        if f"socket:[{words[9]}]" in ours:
            print("SOCKET", family, *words[1].split(":"), words[3])
"""


def sources() -> Iterator[Path]:
    for folder in ("src", "launch", "tools"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if not {"build", "install", "test", ".venv"} & set(path.relative_to(REPOSITORY).parts):
                yield path


def slips(tree: ast.AST) -> Iterator[str]:
    """What in a module could execute code from data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PICKLES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLES:
            yield node.module or ""
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in ("eval", "exec"):
                yield name
            if keywords.get("allow_pickle", "False") != "False":
                yield "allow_pickle"
            if name == "torch.load" and keywords.get("weights_only") != "True":
                yield "torch.load without weights_only"
            if name == "yaml.load" and "Safe" not in ast.unparse(node):
                yield "yaml.load without a safe loader"


def test_no_source_unpickles_or_evaluates() -> None:
    found = {
        str(path.relative_to(REPOSITORY)): what
        for path in sources()
        if (what := list(slips(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "np.load(p, allow_pickle=True)",
        "torch.load(p)",
        "eval(x)",
        "yaml.load(f)",
    ],
)
def test_the_search_finds_each_kind_of_slip(code: str) -> None:
    assert list(slips(ast.parse(code)))


@pytest.mark.ros
@pytest.mark.skipif(not Path("/proc/self/net/udp").exists(), reason="reads Linux's tables of sockets")
def test_a_node_listens_on_the_loopback_address_alone() -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp":
        pytest.skip("the transport settings are Fast DDS's")
    names = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "FASTRTPS_DEFAULT_PROFILES_FILE")
    bare = {key: value for key, value in os.environ.items() if key not in names}
    for name in names:
        os.environ.pop(name, None)
    environment = {**bare, **process_environment(), "ROS_DOMAIN_ID": "101"}
    done = subprocess.run(
        [sys.executable, "-c", SOCKETS], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    sockets = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("SOCKET")]
    assert sockets, done.stderr
    # DDS listens at ports that follow from the domain, all below 32768; the others are of outgoing packets.
    udp = [(address, int(port, 16)) for family, address, port, _ in sockets if family == "udp"]
    assert {address for address, port in udp if port < 32768} == {"0100007F"}  # 127.0.0.1, little endian
    assert not [state for family, _, _, state in sockets if family == "tcp" and state == "0A"]  # LISTEN
