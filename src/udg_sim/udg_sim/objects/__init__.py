"""The objects on the table: which there are, where they come from, how one is chosen."""
