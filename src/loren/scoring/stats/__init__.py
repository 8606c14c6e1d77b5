"""Is a difference between two variants more than chance? Pure functions of numbers, without a model, a file or a word of a task.

``rows`` holds two variants' outcomes of the same rows, and which rows belong to one situation. ``formulas`` are the published
formulas over arrays; ``shares`` and ``scores`` apply them to outcomes that are yes or no, and to numbers; ``power`` says how small
a difference the rows could have shown; ``verdict`` says it in one word, with every number behind it.

Rows of one situation are asked in other words and fail together: they are not independent, and nothing here treats them so.
Whatever the input (no rows, one situation, no difference at all) every result is a finite number, and its docstring says which.
"""
