"""The visualizer node: chunk, path and workspace as markers and in the camera's image."""
