"""The grasp policy: data format, network, training and inference."""
