"""Training: steps, losses, and what is told of a run."""
