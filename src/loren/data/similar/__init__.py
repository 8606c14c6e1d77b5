"""Rows that say the same: duplicates, copies in other words, and what a training file shares with the file it is judged by.

A room for questions only: what a text looks like in its several forms (``forms``), how alike two are (``shingles``, ``pairs``), and
the three uses of it: a survey over one file (``duplicates``, ``copies``), a file against golden ones (``golden``), and the groups
that a split keeps together (``ties``).
"""
