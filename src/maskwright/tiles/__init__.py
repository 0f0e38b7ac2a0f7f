"""Pictures too large for memory, tile by tile: searching them, and cutting out what is asked for."""
