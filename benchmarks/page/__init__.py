"""The page about speed, made from benchmarks/results alone."""
