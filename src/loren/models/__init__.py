"""Base models: where they come from, how a conversation becomes tokens, how they are loaded and asked.

Empty on purpose: `source` and `protocol` are light, the rest loads torch.
"""
