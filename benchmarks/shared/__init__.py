"""What every claim uses: the machine, processes that take turns, the report."""
