"""A run folder as one page: what was measured, read from its files alone, in two languages."""
