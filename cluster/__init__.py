"""A live cluster: how to reach it, the one that kwokctl runs here, and the fleet in it."""
