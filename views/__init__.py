"""Shows the live state of a stack: a table in the terminal, a picture in the browser."""
