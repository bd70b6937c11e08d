"""Writing a run for other tools: a module for each format."""
