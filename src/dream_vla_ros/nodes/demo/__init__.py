"""`make demo`: the whole graph as processes, goals, a table and a video."""
