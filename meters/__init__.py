"""Joules: domains, readings, windows, their uncertainty and grade."""
