"""What joins several rooms. Heavy rooms are imported inside functions, so that `loren --help` starts at once."""
