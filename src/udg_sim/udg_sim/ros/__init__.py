"""ROS side of the simulation: the only place of this package that knows rclpy and messages."""
