"""What stands beside taskqueue: each module is a program's API and worker, started as `python -m`."""
