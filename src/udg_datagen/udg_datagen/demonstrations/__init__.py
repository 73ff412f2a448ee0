"""Demonstrations: planned, executed, generated in bulk, and what a data set of them holds."""
