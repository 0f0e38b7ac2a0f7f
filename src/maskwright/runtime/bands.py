"""Large maps of nano's trunk made in bands of rows, so that they stay in a CPU's caches.

The widened maps of the first blocks have 40 MB at 640 px. Written out whole they cost more time than the
convolutions themselves: in memory traffic, and in fresh pages that the system has to clear.
"""

from __future__ import annotations

from maskwright.model.efficientnet import InvertedResidual
from maskwright.model.sam2 import SAM2

BAND_BYTES = 2 << 20
"""Size of a band, measured: half and twice as much are both slower on processors with 1 MB a core."""


def work_in_bands(network: SAM2, band_bytes: int = BAND_BYTES) -> SAM2:
    """Let every inverted residual block work in bands; does nothing to networks without such blocks."""
    for layer in network.modules():
        if isinstance(layer, InvertedResidual):
            layer.band_bytes = band_bytes
    return network
