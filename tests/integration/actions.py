"""The actions of these tests."""
