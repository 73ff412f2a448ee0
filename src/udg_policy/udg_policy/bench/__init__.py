"""Measurements of time: inference, training, choices, data sets."""
