"""Reading what other tools measured: a module for each format."""
