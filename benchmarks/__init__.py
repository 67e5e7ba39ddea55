"""Measurements against PyTorch; each prints a table and leaves JSON in benchmarks/results."""
