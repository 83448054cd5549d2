"""A human's stick, mouse or keyboard as end-effector motion; without ROS."""
