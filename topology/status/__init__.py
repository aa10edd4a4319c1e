"""Reports the live state of a stack: which devices each claim has, and why it has none."""
