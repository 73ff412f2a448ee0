"""Grasp synthesis: three nouns (GraspObject, HandModel, SynthesisConfig) and a verb (synthesize)."""

from udg_datagen.errors import DeviceError, GraspObjectError, StrategyError
from udg_datagen.hands.model import HandModel, HandSpec
from udg_datagen.hands.robot_hand import robot_hand, robot_hand_spec
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.processes import worker_pool
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.strategies import AUTO, STRATEGIES, choose
from udg_datagen.synthesis.synthesize import synthesize
from udg_description.errors import HandModelError

__all__ = [
    "AUTO",
    "STRATEGIES",
    "DeviceError",
    "GraspObject",
    "GraspObjectError",
    "HandModel",
    "HandModelError",
    "HandSpec",
    "StrategyError",
    "SynthesisConfig",
    "choose",
    "synthesize",
    "worker_pool",
    "robot_hand",
    "robot_hand_spec",
]
