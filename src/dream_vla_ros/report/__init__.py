"""What a run looked like: statistics, tables, plots and video with commands drawn in; no ROS."""
