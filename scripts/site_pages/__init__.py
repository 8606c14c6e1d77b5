"""The documentation site: which pages it takes, how it looks, and what it must never do."""
