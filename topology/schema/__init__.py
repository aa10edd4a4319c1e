"""What a stack may say: the models of its configuration, and the catalogue."""
