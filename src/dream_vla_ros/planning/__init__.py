"""Domains, prompts, plan parsing, grounding and planning loops, without ROS and without a network."""
