"""Running: plan, isolate, measure, store, resume."""
