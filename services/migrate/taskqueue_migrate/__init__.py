"""The one-shot job that brings the database to this version's schema."""
