"""Grasps of one object: made, kept, shown."""
