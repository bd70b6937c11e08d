"""Questions: what is asked, and how lm-eval asks it."""
