"""Balance and quality: what makes a file that is well-formed teach badly. Warnings, but for strings that a tokenizer obeys."""
