"""Other methods of grasp synthesis, implemented here to be compared on the same hand, objects and tests."""

from udg_datagen.baselines.dexgraspnet import DexGraspNetConfig, MalaResult, optimise
from udg_datagen.baselines.finish import to_grasps

__all__ = ["DexGraspNetConfig", "MalaResult", "optimise", "to_grasps"]
