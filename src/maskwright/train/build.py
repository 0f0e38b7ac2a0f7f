"""From a recipe and the user's files to a task, and from its checkpoint to a model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from maskwright.config import NANO, ModelConfig
from maskwright.errors import InputError
from maskwright.train.settings import LoopConfig, overridden, parsed, read_recipe
from maskwright.train.task import Progress, Task

if TYPE_CHECKING:
    from maskwright.io.datasets.protocol import Pictures, Videos
    from maskwright.model.sam2 import SAM2
    from maskwright.train.clips import ClipMaker

TASKS = ("pictures", "clips", "memory")
IMAGENET = "imagenet"
"""To begin with: nano's network, untrained but for its trunk."""


@dataclass(frozen=True)
class Options:
    """The user's files and choices, beside the recipe."""

    data: Path
    """Labelled pictures or videos."""
    out: Path
    """Folder of the run."""
    images: Path | None = None
    """Where the pictures lie that a COCO file names."""
    val: Path | None = None
    """Held-out data; without it, the ``val`` split of ``data``."""
    init: str = ""
    """Model to begin with: a name, a file or ``imagenet``; empty: the recipe's."""
    freeze: str = ""
    """``early``, ``trunk``, ``encoder`` or ``none``; empty: the recipe's."""
    lora: int | None = None
    """Rank of adapters in the trunk; None: the recipe's."""
    cache: Path | None = None
    """Folder of what is computed once; None: below ``out``."""
    plain: Path | None = None
    """Photographs without labels, for the backgrounds of made clips."""

    @property
    def cache_folder(self) -> Path:
        """Where what is computed once is kept."""
        return self.cache if self.cache is not None else self.out / "cache"


@dataclass(frozen=True)
class Recipe:
    """Everything about a run but the files."""

    task: str
    """One of ``TASKS``."""
    init: str
    freeze: str
    lora: int
    loop: LoopConfig
    settings: Any
    """The task's own: the table of its name."""
    augment: Any
    """AugmentConfig where the task changes pictures, else None."""

    def tables(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        found: dict[str, Any] = {name: getattr(self, name) for name in ("task", "init", "freeze", "lora")}
        found |= {"loop": asdict(self.loop), self.task: asdict(self.settings)}
        return found | ({"augment": asdict(self.augment)} if self.augment is not None else {})


def open_recipe(name: str, pairs: Sequence[str] = (), options: Options | None = None) -> Recipe:
    """A recipe by its name or path, with settings overridden by ``table.field=value`` and by options.

    Raises:
        InputError: there is no such recipe, or something in it is unknown, of another type or senseless.
    """
    tables = overridden(read_recipe(name), pairs)
    task = tables.pop("task", "pictures")
    if task not in TASKS:
        raise InputError(f"a recipe's task is one of {', '.join(TASKS)}, not {task!r}")
    settings, augment = _settings_of(task)
    known = ("loop", task) if augment is None else ("loop", task, "augment")
    choices = {"init": "nano", "freeze": "none", "lora": 0}
    for table, value in tables.items():
        if table not in known and table not in choices:
            listed = ", ".join((*(f"[{table}]" for table in known), *choices))
            raise InputError(f"unknown training setting {table!r}; a recipe for {task} has {listed}")
        if isinstance(value, dict) != (table in known):
            raise InputError(f"{table} is {'a table' if table in known else 'a setting, not a table'}")
    given = {"init": options.init, "freeze": options.freeze, "lora": options.lora} if options else {}
    chosen = {**choices, **{name: tables[name] for name in choices if name in tables}}
    chosen |= {name: value for name, value in given.items() if value not in ("", None)}
    loop = parsed(LoopConfig, tables.get("loop", {}), "loop")
    if loop.start_share and (task == "memory" or chosen["init"] == IMAGENET):
        raise InputError(
            "loop.start_share needs a trained model to begin with: pictures or clips, and --init"
        )
    return Recipe(
        task=task,
        init=str(chosen["init"]),
        freeze=str(chosen["freeze"]),
        lora=int(str(chosen["lora"])),
        loop=loop,
        settings=parsed(settings, tables.get(task, {}), task),
        augment=None if augment is None else parsed(augment, tables.get("augment", {}), "augment"),
    )


def _settings_of(task: str) -> tuple[type[Any], type[Any] | None]:
    """The dataclass of a task's settings, and that of its augmentations."""
    if task == "memory":
        from maskwright.train.memory_settings import MemoryConfig

        return MemoryConfig, None
    from maskwright.train.augment import AugmentConfig

    if task == "clips":
        from maskwright.train.clip_settings import ClipConfig

        return ClipConfig, AugmentConfig
    from maskwright.train.pictures import PictureConfig

    return PictureConfig, AugmentConfig


def build_task(recipe: Recipe, options: Options, progress: Progress | None = None) -> Task:
    """The task of a recipe on the user's files; ``progress`` is told about what is computed beforehand.

    Raises:
        MaskwrightError: data or model that cannot be read or do not fit the recipe.
    """
    if recipe.task == "memory":
        return _memory_task(recipe, options, progress)
    model, _ = start_model(recipe)
    if recipe.task == "clips":
        from maskwright.train.clip_task import ClipTask

        source, val = _clip_sources(recipe, options, model.config.image_size)
        return ClipTask(model, recipe.settings, source, val, recipe.augment)
    from maskwright.train.pictures import PictureTask

    pictures, val_pictures = (_pictures(data) for data in _data(options))
    return PictureTask(model, recipe.settings, pictures, val_pictures, recipe.augment)


def export(recipe: Recipe, state: dict[str, Any], options: Options) -> Path:
    """Write the averaged weights in a checkpoint as a model file: ``model.safetensors`` in the run's folder.

    With ``loop.start_share`` they are mixed with those of the model that the recipe begins with.

    Raises:
        CheckpointError: the checkpoint is of another run.
        OutputError: the file cannot be written.
    """
    from maskwright.train.average import mixed
    from maskwright.train.checkpoint import averaged_weights

    target = options.out / "model.safetensors"
    if recipe.task == "memory":
        from maskwright.train.memory_run import export_memory

        return export_memory(state, _file(recipe.init), target)
    from maskwright.train.finetune import export_model

    model, image_only = start_model(recipe)
    notes = {"steps": str(state["step"]), "minutes": f"{state['elapsed'] / 60:.1f}", "init": recipe.init}
    share = recipe.loop.start_share
    if share:
        notes["start_share"] = str(share)
    followed = recipe.task == "clips" and recipe.settings.frames > 1
    return export_model(
        model,
        mixed(averaged_weights(state), model.state_dict(), share),
        target,
        notes,
        dtype=torch.float16 if model.config.name == "nano" else None,
        image_only=image_only and not followed,
    )


def start_model(recipe: Recipe) -> tuple[SAM2, bool]:
    """The model that a run begins with, and whether its memory half has no meaning."""
    from maskwright.train.finetune import parts_to_train
    from maskwright.train.kernels import quicken
    from maskwright.weights.load import build, load_checkpoint

    if recipe.init == IMAGENET:
        model, image_only = _from_imagenet(_sized(NANO, recipe), recipe.loop.seed), True
    else:
        found = load_checkpoint(_file(recipe.init))
        model, image_only = build(_sized(found.config, recipe), found.state), found.image_only
    parts_to_train(model, recipe.freeze, recipe.lora)
    quicken(model)
    return model, image_only


def _sized(config: ModelConfig, recipe: Recipe) -> ModelConfig:
    """A network at the input size of a recipe, which is the model's own unless the recipe has one."""
    size = int(recipe.settings.size)
    if recipe.task == "clips" and recipe.settings.frames > 1:
        return config.at(size) if size else config.for_video
    return replace(config, image_size=size) if size else config


def _from_imagenet(config: ModelConfig, seed: int) -> SAM2:
    from maskwright.model.efficientnet import EfficientNet
    from maskwright.model.sam2 import SAM2
    from maskwright.train.imagenet import load_trunk

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SAM2(config).eval()
    assert isinstance(model.trunk, EfficientNet)
    load_trunk(model.trunk)
    return model


def _memory_task(recipe: Recipe, options: Options, progress: Progress | None) -> Task:
    from maskwright.train.memory_run import memory_task

    return memory_task(
        recipe.settings,
        _file(recipe.init),
        options.data,
        options.cache_folder,
        seed=recipe.loop.seed,
        plain=options.plain,
        progress=progress,
    )


def _file(init: str) -> Path:
    from maskwright.weights.fetch import locate

    return Path(init) if Path(init).is_file() else locate(init)


def holds_videos(path: Path) -> bool:
    """Whether data are videos; InputError if they cannot be read."""
    from maskwright.io.datasets.opening import open_dataset
    from maskwright.io.datasets.protocol import Videos

    return isinstance(open_dataset(path), Videos)


def _data(options: Options) -> tuple[Pictures | Videos, Pictures | Videos]:
    """What is learnt from, each picture decoded once as long as that fits, and what is held out."""
    from maskwright.io.datasets.opening import open_dataset
    from maskwright.io.datasets.protocol import Videos
    from maskwright.train.decoded import DecodedPictures, DecodedVideos

    split, val_split = ("", "") if options.val is not None else ("train", "val")
    found = open_dataset(options.data, split=split, images=options.images)
    held_out = open_dataset(options.val or options.data, split=val_split, images=options.images)
    return DecodedVideos(found) if isinstance(found, Videos) else DecodedPictures(found), held_out


def _pictures(data: Pictures | Videos) -> Pictures:
    from maskwright.io.datasets.protocol import Videos

    if isinstance(data, Videos):
        raise InputError("these data are videos: use a recipe whose task is clips, such as finetune-video")
    return data


def _clip_sources(recipe: Recipe, options: Options, size: int) -> list[Pictures | Videos | ClipMaker]:
    """Where clips come from: videos; pictures for clips of one frame; else clips are made from pictures."""
    from maskwright.io.datasets.labelled import read_index
    from maskwright.io.datasets.protocol import Videos
    from maskwright.train.clips import ClipMaker, ClipSettings

    settings = recipe.settings
    found: list[Pictures | Videos | ClipMaker] = list(_data(options))
    if settings.frames == 1 or isinstance(found[0], Videos):
        return found
    if options.val is not None or not (options.data / "sources.tsv").is_file():
        raise InputError(
            "clips of several frames need videos, or a folder with sources.tsv; or clips.frames=1"
        )
    look = ClipSettings(size=size, frames=settings.frames, objects=settings.objects)
    plain = sorted(options.plain.glob("*.jpg")) if options.plain is not None else []
    return [
        ClipMaker(read_index(options.data, "train"), plain, look, seed=recipe.loop.seed),
        ClipMaker(read_index(options.data, "val"), plain, look, seed=1),
    ]
