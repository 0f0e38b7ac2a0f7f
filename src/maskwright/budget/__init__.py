"""Which model, input size, dtype and runtime keep up with a number of frames a second on this machine (ADR 22).

:func:`maskwright.budget.search.settle` goes through candidates in the order of their accuracy and takes the
first that a quick measurement finds to be fast enough.
"""
