"""The Dream-VLA and Dream-VL networks and their checkpoints; torch only, no ROS."""
