"""Shapes and meshes: made, read, repaired, closed, decomposed; the poses in which they rest."""
