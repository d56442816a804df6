"""Where a model's time goes, and the least that it could be."""
