"""From checked rows to a saved adapter: `recipe` is the story, `trainer` the only file that speaks TRL."""
