"""A PyTorch model as it is: its sources, its names, its parts, and what it did when it ran."""
