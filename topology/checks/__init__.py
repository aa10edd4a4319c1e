"""Refuses a stack that cannot work, before anything is created."""
