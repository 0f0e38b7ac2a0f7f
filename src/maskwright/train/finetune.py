"""Fine-tuning of any model: what learns and how fast, figures before and after, the file that comes out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from maskwright.errors import CheckpointError, InputError
from maskwright.model.efficientnet import TAPPED_STAGES, EfficientNet
from maskwright.model.sam2 import SAM2
from maskwright.train.lora import add_adapters, is_adapter, merged
from maskwright.weights.keymaps import is_memory
from maskwright.weights.load import save_checkpoint

if TYPE_CHECKING:
    from maskwright.train.task import Group, Task

__all__ = [
    "Comparison",
    "Rates",
    "evaluate_before_after",
    "export_model",
    "merged",
    "parts_to_train",
    "rate_groups",
    "trained",
]

Freeze = Literal["early", "trunk", "encoder", "none"]
"""What keeps its weights: the trunk's first stages up to stride 8, the whole trunk, the whole image encoder
(trunk and neck), or nothing."""

_FROZEN: dict[str, tuple[str, ...]] = {"trunk": ("trunk.",), "encoder": ("trunk.", "neck."), "none": ()}


def parts_to_train(model: SAM2, freeze: str = "none", lora: int = 0) -> dict[str, nn.Parameter]:
    """Choose what learns; everything else gets ``requires_grad`` False and is kept bit for bit.

    Normalisation layers with running statistics (nano's) keep those in any case: the model is put in eval
    mode and is to stay in it.

    Args:
        model: Changed in place.
        freeze: ``early`` (the trunk up to stride 8), ``trunk``, ``encoder`` (trunk and neck) or ``none``.
        lora: Rank of adapters in the trunk, 0 for none. With adapters the trunk's own weights stay, whatever
            ``freeze`` says.

    Returns:
        The parameters that learn, by their names in the model.

    Raises:
        InputError: ``freeze`` is none of those, or adapters are impossible (see ``lora.add_adapters``).
    """
    if freeze not in get_args(Freeze):
        raise InputError(f"freeze must be one of {', '.join(get_args(Freeze))}, not {freeze!r}")
    if lora < 0:
        raise InputError(f"the rank of adapters must be 0 or more, not {lora}")
    model.eval()
    frozen = early_stages(model) if freeze == "early" else _FROZEN[freeze]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    if lora:
        add_adapters(model.trunk, lora)
    return trained(model)


def early_stages(model: SAM2) -> tuple[str, ...]:
    """Name prefixes of the trunk's parameters up to and with those that make the stride-8 level."""
    if isinstance(model.trunk, EfficientNet):
        return ("trunk.stem.", *(f"trunk.stages.{number}." for number in range(TAPPED_STAGES[1] + 1)))
    depths = model.trunk.config.depths
    return (
        "trunk.patch.",
        "trunk.position",
        "trunk.window_position",
        *(f"trunk.blocks.{number}." for number in range(sum(depths[:2]))),
    )


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


class Rates(NamedTuple):
    """Peak learning rates of a model's parts; the defaults are those of the official fine-tuning recipe."""

    rest: float = 5e-6
    """Everything but the image encoder."""
    encoder: float = 3e-6
    """The image encoder: trunk and neck."""
    layer_decay: float = 0.9
    """Each block of the trunk learns slower than the next one by this factor."""
    adapters: float = 1e-4
    """Low-rank adapters, which start at zero and need more."""
    appraisal: float = 5e-6
    """nano's appraisal of masks: a few numbers, which need more as well."""
    weight_decay: float = 0.1
    """Of weights with two axes or more."""


def rate_groups(model: SAM2, rates: Rates) -> list[Group]:
    """The parameters that learn, by the rate they learn at, each with a name for the logs."""
    from maskwright.train.task import Group

    members: dict[tuple[str, float], dict[str, nn.Parameter]] = {}
    depth = len(trunk_steps(model))
    for name, parameter in trained(model).items():
        members.setdefault(_rate_of(name, rates, depth), {})[name] = parameter
    return [Group(title, part, rate, rates.weight_decay) for (title, rate), part in members.items()]


def trunk_steps(model: SAM2) -> nn.ModuleList:
    """The trunk's parts one after the other: blocks of Hiera, stages of EfficientNet."""
    steps = getattr(model.trunk, "blocks", None) or getattr(model.trunk, "stages", None)
    assert isinstance(steps, nn.ModuleList)
    return steps


def _rate_of(name: str, rates: Rates, depth: int) -> tuple[str, float]:
    """Group and rate of a parameter (``layer_decay_param_modifier`` of the official optimiser).

    Stem and block i of n decay to the powers n + 1 and n - i; the position maps do not decay.
    """
    if is_adapter(name):
        return "adapters", rates.adapters
    if not name.startswith("trunk."):
        named = {"neck": rates.encoder, "appraisal": rates.appraisal}
        part = name.partition(".")[0]
        return (part, named[part]) if part in named else ("rest", rates.rest)
    block = re.match(r"trunk\.(?:blocks|stages)\.(\d+)\.", name)
    if block is not None:
        number = int(block[1])
        return f"trunk {number}", rates.encoder * rates.layer_decay ** (depth - number)
    if name.startswith(("trunk.position", "trunk.window_position")):
        return "trunk position", rates.encoder
    return "trunk stem", rates.encoder * rates.layer_decay ** (depth + 1)


@contextmanager
def weights(model: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, the model has these weights (some or all, by name); afterwards it has its own again."""
    own = model.state_dict()
    unknown = sorted(state.keys() - own.keys())
    if unknown:
        raise CheckpointError(f"the model has no parameter {unknown[0]!r}; is it of another run?")
    kept = {name: own[name].detach().clone() for name in state}
    try:
        _copy_into(own, state)
        yield
    finally:
        _copy_into(own, kept)


@torch.no_grad()
def _copy_into(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    for name, value in state.items():
        own[name].copy_(value)


class Comparison(NamedTuple):
    """Figures on the held-out split by name, before and after training."""

    before: dict[str, float]
    after: dict[str, float]

    @property
    def rows(self) -> list[tuple[str, float, float]]:
        """Name, before, after: what both have."""
        return [(name, value, self.after[name]) for name, value in self.before.items() if name in self.after]

    def __str__(self) -> str:
        lines = [f"{'':<16} {'before':>8} {'after':>8} {'change':>8}"]
        lines += [f"{name:<16} {old:>8.4f} {new:>8.4f} {new - old:>+8.4f}" for name, old, new in self.rows]
        return "\n".join(lines)


def evaluate_before_after(task: Task, train: Callable[[], Mapping[str, Tensor]]) -> Comparison:
    """Validate, train, and validate again with the averaged weights that ``train`` returns.

    Both times the task's own ``validate`` is asked, on the same data. The model is left with the weights of
    the last step, not with the average.
    """
    before = task.validate(task.model)
    state = train()
    with weights(task.model, state):
        return Comparison(before, task.validate(task.model))


def export_model(
    model: SAM2,
    averaged_state: Mapping[str, Tensor] | None,
    path: Path,
    notes: Mapping[str, str] | None = None,
    *,
    dtype: torch.dtype | None = torch.float16,
    image_only: bool = False,
) -> Path:
    """Write a model file that ``maskwright.load`` reads, with the network's configuration in it.

    Args:
        model: As trained, adapters included; it is not changed.
        averaged_state: Averaged weights by their names in the model, some or all; None for the model's own.
        path: Of the safetensors file.
        notes: More metadata: steps, data, licence.
        dtype: How weights are stored: float16 (half the size) or None for float32.
        image_only: Leave the memory half out, where neither training nor the start has given it meaning.

    Raises:
        CheckpointError: the state has names that the model has not.
        OutputError: the file cannot be written; nothing is left under its name.
    """
    with weights(model, averaged_state or {}):
        state = merged(model).state_dict()
    if image_only:
        state = {name: value for name, value in state.items() if not is_memory(name)}
    return save_checkpoint(path, model.config, state, dtype=dtype, notes=notes)
