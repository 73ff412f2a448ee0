"""Bring-up of the whole stack."""
