"""ROS side of control: the only place of this package that knows rclpy and messages."""
