"""The run folder: what its files are called and how they are written. Knows nothing about what they mean."""
