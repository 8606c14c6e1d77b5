"""The data contract: what a training row must be, how rows are split, and nothing about models."""
