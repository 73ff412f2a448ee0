"""ROS side of the composition and of the runner."""
