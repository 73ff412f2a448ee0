"""What synthesis needs to know of an object: its surface, and what it offers to hands."""
