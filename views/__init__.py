"""What a stack looks like right now, for people: a table in the terminal, a picture in the browser."""
