"""Demonstrations: in memory, in files, as a data set."""
