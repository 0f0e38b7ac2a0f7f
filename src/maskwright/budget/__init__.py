"""Which model, input size, dtype and runtime keep up with a frame rate on this machine (ADR 22).

:func:`maskwright.budget.search.settle` goes through candidates in the order of their accuracy and takes the
first that a quick measurement finds to be fast enough.
"""
