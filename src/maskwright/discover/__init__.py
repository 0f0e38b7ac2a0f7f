"""Objects of a video that nobody asked for: automatic masks where nothing is followed, now and again."""
