"""Moloco Commerce Media: all that is specific to this partner."""
