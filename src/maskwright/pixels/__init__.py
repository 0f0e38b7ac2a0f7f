"""Pure functions on arrays: nothing here reads a file, holds a model or remembers anything.

``preprocess`` and ``postprocess`` are the two ends of the network and need torch; the rest works on numpy
arrays and does not load it.
"""
