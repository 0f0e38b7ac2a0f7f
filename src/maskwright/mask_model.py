"""A loaded model, and what can be asked of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch

from maskwright.automask import places
from maskwright.automask.found import FoundMasks
from maskwright.automask.options import AutomaskOptions
from maskwright.automask.search import Search, SearchStep, whole_result
from maskwright.budget.choice import BudgetChoice
from maskwright.config import ModelConfig
from maskwright.discover.options import Discover
from maskwright.discover.scout import Scout
from maskwright.errors import InputError, PromptError
from maskwright.io.images import ImageSource, read_image
from maskwright.io.rasters import RasterOptions, open_raster
from maskwright.io.sources import Corrupt, DecoderName, open_source
from maskwright.masks import Masks
from maskwright.runtime.protocol import Runtime
from maskwright.runtime.select import EAGER, dtype_name
from maskwright.segmenter import Embedding, embed
from maskwright.tiles.image import TiledImage
from maskwright.tiles.options import TileOptions
from maskwright.track.objects import checked_id
from maskwright.track.options import TrackOptions
from maskwright.track.session import Session
from maskwright.track.tracker import Direction, Plan, Prompts, Tracking
from maskwright.types import Box, MaskPrompt, Points, Prompt, PromptLike


class MaskModel:
    """A loaded model. Stateless: any number of threads may share one."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        image_only: bool = False,
        make_video_runtime: Callable[[], Runtime] | None = None,
        runtime_name: str = EAGER,
    ) -> None:
        self.runtime = runtime
        """What executes the verbs."""
        self.runtime_name = runtime_name
        """What ``load`` calls that: ``eager``, ``compiled``, ``cuda-graphs``, ``openvino`` or ``onnx``."""
        self._make_video_runtime = make_video_runtime
        self.choice: BudgetChoice | None = None
        """What ``target_fps`` has chosen and why, where it was given."""
        self.image_only = image_only
        """True for weights whose memory half is untrained: good for pictures, not for video."""

    @cached_property
    def video_runtime(self) -> Runtime:
        """What executes the verbs at the input size for videos; made when it is first asked for."""
        return self.runtime if self._make_video_runtime is None else self._make_video_runtime()

    @property
    def name(self) -> str:
        """Catalogue name of what the weights are; ``custom`` for a network that is none of those."""
        return self.runtime.config.name

    @property
    def config(self) -> ModelConfig:
        return self.runtime.config

    @property
    def device(self) -> torch.device:
        return self.runtime.device

    @property
    def dtype(self) -> torch.dtype:
        """Compute dtype."""
        return self.runtime.dtype

    @property
    def dtype_name(self) -> str:
        """The same as text: ``float32``, ``bfloat16``, ``float16`` or ``int8``."""
        return dtype_name(self.dtype)

    def __repr__(self) -> str:
        where = f"device={str(self.device)!r}, dtype={self.dtype_name!r}"
        return f"MaskModel({self.name!r}, {where}, image_size={self.config.image_size})"

    def embed(self, image: ImageSource) -> Embedding:
        """Encode a picture, once for any number of prompts.

        Args:
            image: Path, bytes of an image file, PIL image, or array (h, w, 3), (h, w) or (h, w, 4): uint8,
                uint16, or float in 0..1. EXIF orientation is honoured.

        Raises:
            ImageError: it cannot be read as a picture.
        """
        return embed(self.runtime, [read_image(image)])[0]

    def embed_batch(self, images: Sequence[ImageSource], *, batch_size: int = 4) -> list[Embedding]:
        """Encode several pictures, of any sizes, ``batch_size`` at a time.

        Raises:
            ImageError: one of them cannot be read.
        """
        return [one for batch in self._batches(images, batch_size) for one in batch]

    def segment_batch(
        self,
        images: Sequence[ImageSource],
        prompts: Sequence[PromptLike | Sequence[PromptLike]],
        *,
        candidates: bool = False,
        refine: bool = False,
        max_hole_area: float = 0,
        max_speck_area: float = 0,
        threshold: float = 0.0,
        batch_size: int = 4,
    ) -> list[Masks]:
        """Embed and segment several pictures; at most ``batch_size`` embeddings are held at a time.

        Args:
            images: As for :meth:`embed`.
            prompts: For each picture one prompt, or a list with one entry per object: what
                :meth:`Embedding.segment` takes as positional arguments.
            candidates: This and the following are those of :meth:`Embedding.segment`.
            refine: See there.
            max_hole_area: See there.
            max_speck_area: See there.
            threshold: See there.
            batch_size: Pictures that are encoded together.

        Raises:
            ImageError: a picture cannot be read.
            PromptError: a prompt is malformed or outside its picture, or there is not one entry per picture.
        """
        if len(prompts) != len(images):
            raise PromptError(
                f"{len(prompts)} prompts for {len(images)} pictures; give one entry per picture"
            )
        objects = [_objects(entry) for entry in prompts]
        results: list[Masks] = []
        for batch in self._batches(images, batch_size):
            for embedding in batch:
                masks = embedding.segment(
                    *objects[len(results)],
                    candidates=candidates,
                    refine=refine,
                    max_hole_area=max_hole_area,
                    max_speck_area=max_speck_area,
                    threshold=threshold,
                )
                results.append(masks)
        return results

    def automask(
        self,
        image: ImageSource,
        preset: str = "balanced",
        *,
        options: AutomaskOptions | None = None,
        progress: Callable[[SearchStep], object] | None = None,
        **changes: Any,
    ) -> FoundMasks:
        """Find every object of a picture, without prompts::

            found = model.automask("truck.jpg")
            found = model.automask("truck.jpg", "dense", min_score=0.6)

        Args:
            image: As for :meth:`embed`. An array is not copied, so it must not change meanwhile; overlays of
                the result are drawn on it.
            preset: ``"fast"``, ``"balanced"`` (the settings of the official generator, or what suits nano) or
                ``"dense"``.
            options: Everything that can be chosen, instead of a preset.
            progress: Is called after each batch of clicks; an exception that it raises ends the search.
            changes: Fields of :class:`AutomaskOptions` that differ from the preset.

        Returns:
            The masks, largest first. There may be none; a logged warning then says which filter took them.

        Raises:
            ImageError: it cannot be read as a picture.
            InputError: an unknown preset or option, one outside its range, options that contradict each
                other, or a picture smaller than the grid of clicks.
        """
        with self.search(image, preset, options=options, **changes) as search:
            return whole_result(search, progress)

    def search(
        self,
        image: ImageSource,
        preset: str = "balanced",
        *,
        options: AutomaskOptions | None = None,
        **changes: Any,
    ) -> Search:
        """:meth:`automask` step by step, for showing masks as they come, or cancelling::

            with model.search("truck.jpg") as search:
                for step in search:
                    print(f"{step.done} of {step.total}, {step.seconds_left:.0f} s left, {len(step.new)} new")
                    if enough:
                        break
            found = search.result()

        Arguments and errors are those of :meth:`automask`.
        """
        chosen = AutomaskOptions.of(options, preset, self.name, changes)
        picture = read_image(image, copy=False)
        places.check_size((picture.shape[0], picture.shape[1]), chosen)
        return Search(self.runtime, picture, chosen)

    def tiled(
        self, source: Any, options: TileOptions | None = None, reading: RasterOptions | None = None
    ) -> TiledImage:
        """Open a picture that is too large for memory, to be read by windows::

            with model.tiled("slide.tif", mw.TileOptions(size=2048)) as slide:
                masks = slide.segment(mw.Points([(15200, 8300)]))
                found = slide.automask("fast")

        Args:
            source: A TIFF or BigTIFF, JPEG 2000, PNG, JPEG, WebP or BMP file (with ``maskwright[tiles]``), or
                an array (h, w) or (h, w, c) of any numbers: numpy, a memory map, zarr, HDF5.
            options: How to cut it into tiles, and what makes parts one object.
            reading: Which channels are shown and how samples become 8-bit RGB, and the memory for that.

        Raises:
            ImageError: missing, damaged, not a picture, or not to be read within the memory allowed.
            InputError: it has no such channels.
            MissingExtraError: rasterio is not installed.
        """
        raster = open_raster(source, reading)
        try:
            return TiledImage(self.runtime, raster, options)
        except BaseException:
            raster.close()
            raise

    def load_embedding(self, path: str | os.PathLike[str]) -> Embedding:
        """Read a file that ``Embedding.save`` wrote with this model.

        Raises:
            InputError: no such file, another kind of file, or one of another model or input size.
        """
        return Embedding.load(path, self.runtime)

    def session(self, options: TrackOptions | None = None) -> Session:
        """Follow objects through frames that you push, from a camera or anywhere else::

            with model.session() as session:
                session.push(first_frame)
                session.prompt(1, Box(210, 300, 420, 560))
                for frame in frames:
                    tracked = session.push(frame)

        Args:
            options: How to track; the defaults are those of the official predictor.

        Raises:
            InputError: the weights can only segment pictures.
        """
        self._check_video()
        return Session(self.video_runtime, options)

    def load_session(self, path: str | os.PathLike[str], options: TrackOptions | None = None) -> Session:
        """Continue from a snapshot that ``Session.save`` wrote with this model.

        Args:
            path: The snapshot.
            options: Only needed for a policy of one's own, which a snapshot cannot hold; all others must be
                those of the snapshot.

        Raises:
            InputError: no such file, another kind of file, or one of another model or other options.
        """
        self._check_video()
        return Session.load(path, self.video_runtime, options)

    def track(
        self,
        source: Any,
        prompts: Prompts | None = None,
        *,
        discover: Discover | bool | int | None = None,
        direction: Direction = "forward",
        start: int | None = None,
        stop: int | None = None,
        step: int = 1,
        drop_frames: bool | None = None,
        corrupt: Corrupt = "skip",
        decoder: DecoderName = "pyav",
        options: TrackOptions | None = None,
        session: Session | None = None,
    ) -> Tracking:
        """Follow objects through a video, frame by frame as they are decoded, in bounded memory::

            for frame in model.track("street.mp4", {1: Box(210, 300, 420, 560)}):
                ...

        The masks are those that pushing the same frames to a :meth:`session` gives.

        Args:
            source: A video file, a folder or pattern of pictures, an address, a camera (``0``), arrays, or
                an iterator of frames; see ``open_source``.
            prompts: By object number: what it is in the first frame visited, or ``{frame: prompt}`` for one
                or several frames: Points, Box, both, mask logits, or the mask itself as bool (h, w).
                With ``discover`` there need not be any.
            discover: Find further objects without prompts: True, the number of frames from one search to
                the next, or :class:`Discover` with everything that can be chosen.
            direction: ``"forward"``, ``"backward"``, or ``"both"`` from the earliest prompted frame.
            start: First frame; by default the earliest prompted one (backward: the latest), or with
                ``discover`` and forward the first of all.
            stop: Forward: the frame to stop before. Backward: the last one, inclusive.
            step: Distance between visited frames.
            drop_frames: Take the newest frame and drop those that came meanwhile; by default where live.
            corrupt: Damaged frames: ``"skip"`` them with a warning, or ``"stop"``.
            decoder: What decodes a video file: ``"pyav"``, or ``"torchcodec"``, with a model on an NVIDIA
                GPU on that GPU, where the frames stay.
            options: How to track.
            session: Go on where this session stands, which was loaded from a snapshot of the same run.

        Returns:
            An iterator of :class:`TrackedFrame`; a context manager, whose ``close`` cancels. Its ``session``
            may be prompted between two frames.

        Raises:
            InputError: the weights can only segment pictures, nothing to follow, or numbers that make no
                sense.
            SourceError: the source cannot be opened.
            MissingExtraError: PyAV or torchcodec is needed and not installed.
        """
        self._check_video()
        scout = self._scout(Discover.of(discover), prompts or {})
        # before the runtime for videos, which may take minutes to make
        place = self.device if self.device.type == "cuda" else "cpu"
        opened = open_source(source, corrupt=corrupt, decoder=decoder, device=place)
        plan = Plan.of(
            prompts or {},
            direction=direction,
            start=start,
            stop=stop,
            step=step,
            drop_frames=opened.live if drop_frames is None else drop_frames,
            discovers=scout is not None,
        )
        return Tracking(session or Session(self.video_runtime, options), opened, plan, scout)

    def _scout(self, settings: Discover | None, prompts: Prompts) -> Scout | None:
        if settings is None:
            return None
        return Scout(self.runtime, settings, settings.search(self.name), map(checked_id, prompts))

    def _check_video(self) -> None:
        if self.image_only:
            raise InputError(
                f"these weights of {self.name} segment pictures only: their memory is not trained; "
                "load another model to follow objects through video"
            )

    def _batches(self, images: Sequence[ImageSource], batch_size: int) -> Iterator[list[Embedding]]:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        for start in range(0, len(images), batch_size):
            yield embed(self.runtime, [read_image(image) for image in images[start : start + batch_size]])


def _objects(entry: PromptLike | Sequence[PromptLike]) -> list[Prompt]:
    """One picture's prompts as a list of objects, checked as far as that needs no picture."""
    if isinstance(entry, (Points, Box, MaskPrompt, Prompt)):
        return [Prompt.of(entry)]
    return [Prompt.of(one) for one in entry]
