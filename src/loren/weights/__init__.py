"""Trained weights become a model of their own: merged into their base, with a proof. Sees folders and files, no run."""
