"""Where training runs, by way of Lightning Fabric: processes, devices, precision, batches on their way."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from maskwright.errors import InputError, MissingExtraError
from maskwright.train.settings import LoopConfig
from maskwright.train.task import Draw, Task, to_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_PATIENCE = timedelta(hours=12)
"""How long devices wait for the one that validates or writes a file."""


def open_fabric(loop: LoopConfig) -> Fabric:
    """Fabric for a run, with its devices started: from here on there are as many processes as devices.

    Raises:
        InputError: there are no such devices here, or not for this precision.
        MissingExtraError: Fabric is not installed.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise MissingExtraError('training needs lightning-fabric: pip install "maskwright[train]"') from error
    # tasks do not use every parameter in every step
    spread = DDPStrategy(timeout=_PATIENCE, find_unused_parameters=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*16-mixed.* is not supported on CPU")
            fabric = Fabric(
                accelerator=loop.accelerator,
                devices=loop.devices,
                strategy=spread if loop.devices > 1 else "auto",
                precision=loop.precision,  # type: ignore[arg-type]
            )
    except Exception as error:  # Fabric's own kinds, by situation
        reason = " ".join(str(error).split())
        raise InputError(f"no {loop.devices} devices of kind {loop.accelerator} here: {reason}") from error
    if loop.precision == "16-mixed" and fabric.device.type == "cpu":
        raise InputError("loop.precision 16-mixed needs a GPU; on the CPU use bf16-mixed or 32-true")
    fabric.launch()
    if loop.threads:
        processes = loop.devices if fabric.device.type == "cpu" else 1
        torch.set_num_threads(max(1, loop.threads // processes))
    return fabric


class Part:
    """One batch on its way into the task; a class that Fabric does not look into.

    It would cast all floating-point inputs, points in pixels among them, to half precision.
    """

    def __init__(self, batch: Any, draw: Draw, progress: float = 0.0) -> None:
        self.batch, self.draw, self.progress = batch, draw, progress

    def arrived(self, device: torch.device, progress: float) -> Part:
        """The same on the device that learns from it."""
        return Part(to_device(self.batch, device), self.draw, progress)


class Unpacked(nn.Module):
    """A task whose forward takes a ``Part``."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, part: Part) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = self.task(part.batch, part.draw, part.progress)
        return losses
