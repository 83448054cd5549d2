"""Rosbags, episodes and datasets: record, recover, align, convert, inspect. No ROS needed."""
