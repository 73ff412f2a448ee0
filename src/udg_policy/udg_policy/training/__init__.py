"""Training: steps, losses, and what is reported of a run."""
