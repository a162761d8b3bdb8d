"""What lives as long as the application."""
