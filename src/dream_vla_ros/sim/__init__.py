"""A MuJoCo tabletop with a WidowX-like arm, cameras, tasks and a scripted expert; no ROS."""
