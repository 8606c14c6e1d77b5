"""Personal data in texts: what it is and where it is, never what it says. Pure; knows no rule but its own, no file and no model."""
