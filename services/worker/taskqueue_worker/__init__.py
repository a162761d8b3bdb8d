"""The worker: takes tasks from the queue, runs their actions, records the outcomes."""
