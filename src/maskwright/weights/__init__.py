"""Model files: where they are (``catalog``), how they get here (``fetch``), how they are read (``load``).

``catalog`` and ``fetch`` need no torch, so that the command line can list models at once.
"""
