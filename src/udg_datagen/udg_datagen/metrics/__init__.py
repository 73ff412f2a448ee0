"""How good grasps are, and how different: Ferrari-Canny quality and diversity."""

from udg_datagen.metrics.diversity import Diversity, diversity
from udg_datagen.metrics.q1 import q1, q1_of, wrench_hull_radius

__all__ = ["Diversity", "diversity", "q1", "q1_of", "wrench_hull_radius"]
