"""``maskwright export``, and the options of other commands that write the formats of other tools."""
