"""What the examples share: a training loop, and trained networks handed over to recstack."""
