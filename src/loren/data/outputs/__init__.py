"""The forms in which a report leaves Loren: each is written issue by issue, whatever their number."""
