"""``maskwright eval``: measure any model on labelled pictures and videos."""
