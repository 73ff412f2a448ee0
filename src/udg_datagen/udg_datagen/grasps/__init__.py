"""Grasps of one object: made, stored, shown."""
