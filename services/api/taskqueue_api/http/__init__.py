"""What any JSON API needs of HTTP. Knows no task, and no settings: what it needs is handed in."""
