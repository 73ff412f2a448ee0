"""From a scene cloud to the chunk that is executed."""
