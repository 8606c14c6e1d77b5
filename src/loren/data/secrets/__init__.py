"""Secrets in a text: access tokens, private keys, passwords; where they are, never what they are."""
