"""From action chunks to safe joint commands."""
