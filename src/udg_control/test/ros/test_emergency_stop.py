"""Which words of /emergency_stop count, by the time that they were published."""

import rclpy
from std_msgs.msg import Bool

from udg_control.ros.emergency_stop import EmergencyStop


def said(words: list[tuple[bool, int]]) -> tuple[list[str], bool]:
    """What is done about words (data, source timestamp), in their order of arrival, and whether the stop is held."""
    done: list[str] = []
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("stop", context=context)
        stop = EmergencyStop(node, lambda held: done.append("stop"), lambda: done.append("release"))
        for data, stamp in words:
            stop._on_message(Bool(data=data), {"source_timestamp": stamp})
        node.destroy_node()
        return done, stop.held
    finally:
        rclpy.shutdown(context=context)


def test_a_word_that_is_older_than_the_stop_does_not_release_it() -> None:
    """Late subscribers get the last word of each publisher, in any order."""
    assert said([(True, 2000), (False, 1000)]) == (["stop"], True)
    assert said([(False, 1000), (True, 2000)]) == (["stop"], True)
    assert said([(True, 2000), (True, 1500), (False, 1800)]) == (["stop", "stop"], True)
    assert said([(True, 2000), (False, 3000)]) == (["stop", "release"], False)
    assert said([(True, 0), (False, 0)]) == (["stop", "release"], False)  # a middleware that does not tell
