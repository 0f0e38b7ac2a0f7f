"""Frames from anywhere: video files, pictures, animations, arrays, generators, cameras and streams.

:func:`open_source` takes whatever a caller has and gives a :class:`Source`; :func:`prefetch` and
:class:`Latest` put its frames on a background thread.
"""

from maskwright.io.sources.opening import open_source
from maskwright.io.sources.prefetch import Latest, Prefetch, prefetch
from maskwright.io.sources.protocol import Corrupt, DecoderName, Source

__all__ = ["Corrupt", "DecoderName", "Latest", "Prefetch", "Source", "open_source", "prefetch"]
