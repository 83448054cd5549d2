"""The controller node: chunks in, commands at control rate out."""
