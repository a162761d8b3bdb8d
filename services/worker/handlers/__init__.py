"""The actions that the worker runs. A file put here is imported at start: add your own beside `examples.py`."""
