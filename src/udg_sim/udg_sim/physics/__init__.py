"""The cell in SAPIEN's physics."""
