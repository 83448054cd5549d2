"""The teleoperation node: joystick or keyboard in, motion out."""
