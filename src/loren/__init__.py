"""Loren turns a JSONL file of conversations into a LoRA adapter that a team can trust in production.

The rooms are described in ARCHITECTURE.md. Importing the package loads nothing heavy.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
