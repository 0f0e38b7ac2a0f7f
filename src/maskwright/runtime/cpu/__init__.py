"""Quicker ways for processors: packed weights, attention in blocks, maps in pieces that fit the caches."""
