"""Which version this is."""

from importlib.metadata import version

#: The name to install it by: `taskqueue` is somebody else's.
DISTRIBUTION = "taskqueue-http"
VERSION = version(DISTRIBUTION)
