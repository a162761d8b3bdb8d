"""Child processes, where the handlers with `executor="process"` run.

Each has a socket of its own to the worker, and a session of its own: what becomes of one is nothing to the others.
(Those of `concurrent.futures` and of pebble share their queues, and one that is killed may leave them broken.)
"""
