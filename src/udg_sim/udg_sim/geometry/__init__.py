"""Shapes and meshes: made, read, mended, closed, decomposed; the poses in which they rest."""
