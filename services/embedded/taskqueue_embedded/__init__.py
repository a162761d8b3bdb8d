"""API, worker and a queue in memory in one process."""
