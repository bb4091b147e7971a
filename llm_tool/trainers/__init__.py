"""Training: the one loop, one job, models, metrics."""
