"""The simulated tabletop on a ROS graph."""
