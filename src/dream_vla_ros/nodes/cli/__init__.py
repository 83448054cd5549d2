"""The `dream_vla` command, one module for each subcommand."""
