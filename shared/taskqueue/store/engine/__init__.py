"""What the store stands on: transactions, group commit and reads of a database. Nothing here knows of tasks."""
