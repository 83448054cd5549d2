"""The policy nodes: observations in, action chunks out, for one goal at a time."""
