"""From action chunks to one bounded command per control tick; no torch, no ROS."""
