"""Which grasp of a scene the expert takes."""
