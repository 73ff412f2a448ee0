"""The grasp policy: dataset format, network, training and inference. No ROS outside udg_policy.ros."""
