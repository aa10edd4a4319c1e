"""Reports how a stack stands: which claim has which device, and if none, why."""
