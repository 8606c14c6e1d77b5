"""Digests and manifests: what an artifact is, so that a later reader can tell whether it still is that."""
