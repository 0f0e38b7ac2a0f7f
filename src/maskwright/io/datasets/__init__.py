"""Labelled pictures and videos on disk, in the layouts that the field uses."""
