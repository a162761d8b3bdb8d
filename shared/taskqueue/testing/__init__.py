"""What tests of a user's own actions import. The fixture `taskqueue` is the plugin's, `pytest_taskqueue`."""

from taskqueue.testing.attempt import AttemptFailedError, arun, run

__all__ = ["AttemptFailedError", "arun", "run"]
