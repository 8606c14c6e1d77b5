"""The command line: one file a verb. Heavy rooms are imported inside the commands, so that help and checks start at once."""
