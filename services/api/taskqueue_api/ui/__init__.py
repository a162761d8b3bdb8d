"""The dashboard, at `/ui`: frames of pages, and the modules that fill them by what the API answers."""
