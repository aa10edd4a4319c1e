"""The twin of a real fleet: a stack made of what kubectl printed there, and the same kind of dump of a stack."""
