"""Data sets and recordings of other programs, both ways."""
