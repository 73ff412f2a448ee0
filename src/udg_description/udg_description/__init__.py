"""What the robot is: joint layout, limits, frames, kinematics, geometry, cameras."""
