"""Stand-ins for hardware that speak the real protocols. For tests and rehearsals, never needed on the robot.

They share no code with the drivers: the two ends of a wire are written down apart, so that a mistake in one shows.
"""
