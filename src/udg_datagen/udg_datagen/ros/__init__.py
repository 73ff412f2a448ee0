"""ROS 2 node that shows grasp files."""
