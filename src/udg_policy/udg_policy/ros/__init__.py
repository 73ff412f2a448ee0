"""ROS 2 node of the policy."""
