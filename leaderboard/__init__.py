"""Publishing: submissions, checks, the site."""
