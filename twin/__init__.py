"""Makes a stack, the twin, from kubectl output of a real fleet, and the same kind of dump from a stack."""
