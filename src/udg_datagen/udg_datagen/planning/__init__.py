"""Motions of the arms: free of collision, within limits of speed and acceleration."""
