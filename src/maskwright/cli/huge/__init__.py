"""``maskwright segment PHOTO --tiles``: pictures too large for memory."""
