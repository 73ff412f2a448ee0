"""Demonstrations: planned, executed, made in numbers, and what a data set of them holds."""
