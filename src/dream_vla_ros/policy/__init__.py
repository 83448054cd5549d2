"""From an observation to an action chunk in SI units."""
