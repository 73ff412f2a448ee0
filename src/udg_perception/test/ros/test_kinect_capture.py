"""The capture of observations ends quietly when it is asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")

pytestmark = pytest.mark.ros
DEADLINE_S = 60.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_a_traceback(tmp_path: Path, number: signal.Signals) -> None:
    domain = str(20 + os.getpid() % 80)
    environment = {**os.environ, "ROS_DOMAIN_ID": domain, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    words = [sys.executable, "-m", "udg_perception.ros.kinect_capture", str(tmp_path / "poses"), "--poses", "3"]
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=int(domain))
    watcher = rclpy.create_node("watcher", context=context)
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end_s = time.monotonic() + DEADLINE_S
        while "kinect_capture" not in watcher.get_node_names():
            assert process.poll() is None and time.monotonic() < end_s
            threading.Event().wait(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE_S)
    watcher.destroy_node()
    rclpy.shutdown(context=context)
    assert process.returncode == 0 and "Traceback" not in err, err
    assert "0 of 3 poses are in" in out and not (tmp_path / "poses").exists()
