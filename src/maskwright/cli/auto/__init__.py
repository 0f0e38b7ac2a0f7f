"""``maskwright segment --auto``: everything in a photograph, or in all photographs of a folder."""
