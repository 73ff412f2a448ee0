"""Units of time, and the step of the policy that everything is counted in."""

NS_PER_S = 1_000_000_000
NS_PER_US = 1_000
STEP_S = 0.1
"""[s] between two observations, two points of a chunk, two frames of an episode."""
