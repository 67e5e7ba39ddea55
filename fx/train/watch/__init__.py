"""What observes a run and changes nothing of it: events, logs, progress, cost, profiles."""
