"""Personal data and secrets of a file, replaced by placeholders."""
