"""The planner node: questions, plans and tasks of several steps."""
