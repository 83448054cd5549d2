"""Dream-VLA on a real arm: observations to end-effector commands over ROS 2."""
