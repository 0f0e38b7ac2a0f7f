"""Where tracked frames go: videos, pictures and logs, each readable at any moment and whole at the end."""

from maskwright.io.sinks.composite import Sinks
from maskwright.io.sinks.cutout import CutOuts
from maskwright.io.sinks.indexed import IndexedPngs
from maskwright.io.sinks.log import FrameLog, read_log
from maskwright.io.sinks.overlay import OverlayVideo
from maskwright.io.sinks.protocol import Sink
from maskwright.io.sinks.records import LogHeader

__all__ = [
    "CutOuts",
    "FrameLog",
    "IndexedPngs",
    "LogHeader",
    "OverlayVideo",
    "Sink",
    "Sinks",
    "read_log",
]
