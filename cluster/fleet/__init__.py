"""Reads and changes the fleet in a live cluster."""
