"""Thin rclpy nodes that wire topics, actions and parameters to the other rooms."""
