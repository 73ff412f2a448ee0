"""The simulated cell: robot, table and objects in SAPIEN, depth cameras, trials."""
