"""Trials: where the object lies at the start, when it counts as grasped, one after the other."""
