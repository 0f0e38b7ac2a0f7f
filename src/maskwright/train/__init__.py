"""Training (``python -m maskwright.train``): nano's image half on pictures, its memory half on clips."""
