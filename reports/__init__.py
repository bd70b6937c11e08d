"""Judging: intervals, frontier, ranks, reports."""
