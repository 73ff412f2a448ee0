"""Commands that prepare, list and choose objects."""
