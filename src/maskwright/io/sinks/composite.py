"""Several sinks as one."""

from __future__ import annotations

from maskwright.frames import TrackedFrame
from maskwright.io.sinks.protocol import Sink, call_all


class Sinks(Sink):
    """Writes every frame to several sinks, in their order.

    Put a log last: a frame that one sink fails on reaches none of those after it, so what the log holds has
    been handed to all of them.

    Args:
        sinks: They are closed with this one.
    """

    def __init__(self, *sinks: Sink) -> None:
        self.sinks = sinks

    def write(self, frame: TrackedFrame) -> None:
        """Write to each; the first error is raised at once."""
        for sink in self.sinks:
            sink.write(frame)

    def close(self) -> None:
        """Close all of them, even if one fails; the first error is raised, others are logged."""
        call_all([sink.close for sink in self.sinks])

    def abandon(self) -> None:
        """Abandon all of them, even if one fails."""
        call_all([sink.abandon for sink in self.sinks])
