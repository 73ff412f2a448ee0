"""The motion planners by the name that settings give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from udg_datagen.planning.curobo_planner import CuroboPlanner
from udg_datagen.planning.planner import MotionPlanner, OmplPlanner

PLANNERS: Mapping[str, Callable[[], MotionPlanner]] = MappingProxyType({"ompl": OmplPlanner, "curobo": CuroboPlanner})
"""ompl: on the CPU; curobo: cuRobo 2 or later, on CUDA."""
