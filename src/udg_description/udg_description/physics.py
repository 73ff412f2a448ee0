"""Constants of every simulation."""

GRAVITY_M_S2 = 9.81
PHYSICS_HZ = 240.0
"""Rate at which worlds are stepped."""
LIFT_RISE_M, LIFT_HELD_S = 0.17, 1.0
"""A grasp has lifted an object that rose this far and stayed up for this long (the paper's rule)."""
