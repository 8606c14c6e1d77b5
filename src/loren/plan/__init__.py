"""Memory, time and cost of a run before anything is loaded: arithmetic on numbers that are handed in."""
