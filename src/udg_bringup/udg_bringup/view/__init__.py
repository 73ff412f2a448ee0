"""The view in the browser: robot, cloud, predictions and figures, live or recorded. Knows no ROS."""
