"""Your own actions: a file put here is imported at start. The examples that ship are there by the line below."""

from taskqueue_worker import examples as examples
