"""The engine for one SQLite file that all processes of a machine share."""
