"""The recorder node: episodes from topics, one bag each."""
