"""Files that are not JSONL of ``messages``: what they are, their rows one by one, and each row as a row of ``messages``.

A file is opened in three steps that know nothing of each other: how it is packed (``containers``), how its rows stand in it
(``tables``, ``array``, or plain lines) and what a row's fields mean (``translate`` and the formats beside it).
"""
