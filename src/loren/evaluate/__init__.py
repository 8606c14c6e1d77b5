"""Asking a trained model: prompts -> predictions file -> pure scores. Generation and scoring never happen in one breath."""
