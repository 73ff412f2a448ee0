"""Test settings of the whole repository."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests with ROS in one process of pytest-xdist, so that no two of them meet in a ROS domain."""
    for item in items:
        if item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.xdist_group("ros"))
