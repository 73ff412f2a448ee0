"""Grasp synthesis, motion planning and demonstrations."""
