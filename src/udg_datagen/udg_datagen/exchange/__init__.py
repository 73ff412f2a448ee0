"""Grasp files of other projects: isaac_grasp YAML 1.0, and the .npy layout of DexGraspBench and BODex."""
