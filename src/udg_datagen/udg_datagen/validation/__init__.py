"""Grasps tried in physics: floating hands lift the object or hold it."""
