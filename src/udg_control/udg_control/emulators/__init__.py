"""Stand-ins for hardware that speak the real protocols. For tests and rehearsals, never needed on the robot."""
