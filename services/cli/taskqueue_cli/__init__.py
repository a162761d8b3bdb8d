"""The command `taskqueue`: starts the programs, and speaks to a running API."""
