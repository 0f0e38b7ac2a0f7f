"""``sam2.sam2_video_predictor``: prompts anywhere in a video, propagated forward and backward."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from maskwright.errors import InputError, PromptError, StateError
from maskwright.model.candidates import NO_OBJECT, Chosen
from maskwright.model.sam2 import SAM2
from maskwright.pixels.postprocess import VIDEO_FILL, clean, separate, upscale
from maskwright.runtime.batching import object_prompt
from maskwright.runtime.protocol import Moment, Runtime
from maskwright.sam2.base import SAM2Base
from maskwright.sam2.history import Trace
from maskwright.sam2.prompts import corners_and_clicks
from maskwright.sam2.video_frames import VideoFrames
from maskwright.sam2.video_state import Found, InferenceState, VideoObject
from maskwright.track import ask, step
from maskwright.track.policy import OfficialPolicy
from maskwright.types import FloatArray

FrameMasks = tuple[int, list[Any], Tensor]
"""Frame number, object ids, mask logits (N, 1, h, w) at the video's size."""


class SAM2VideoPredictor(SAM2Base):
    """Follows objects through one video per inference state; any number of states may share a predictor."""

    def __init__(
        self,
        network: SAM2,
        fill_hole_area: int = 0,
        non_overlap_masks: bool = False,
        clear_non_cond_mem_around_input: bool = False,
        add_all_frames_to_correct_as_cond: bool = False,
        *,
        dynamic_multimask_via_stability: bool = False,
        binarize_mask_from_pts_for_mem_enc: bool = False,
    ) -> None:
        """Use ``build_sam2_video_predictor``.

        Args:
            network: The native network.
            fill_hole_area: Fill holes up to this many cells of the low-resolution mask, on every device.
            non_overlap_masks: Give every pixel of the output to one object.
            clear_non_cond_mem_around_input: Forget what was tracked within seven frames of a new prompt.
            add_all_frames_to_correct_as_cond: Keep corrected frames as conditioning frames.
            dynamic_multimask_via_stability: Let the best of three step in for an unstable single mask.
            binarize_mask_from_pts_for_mem_enc: Remember clicked masks as 0 and 1.
        """
        super().__init__(network, dynamic_multimask_via_stability=dynamic_multimask_via_stability)
        self.fill_hole_area = fill_hole_area
        self.non_overlap_masks = non_overlap_masks
        self.clear_non_cond_mem_around_input = clear_non_cond_mem_around_input
        self.add_all_frames_to_correct_as_cond = add_all_frames_to_correct_as_cond
        self.binarize_mask_from_pts_for_mem_enc = binarize_mask_from_pts_for_mem_enc

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
        """A predictor by the name of a Hugging Face repository; ``kwargs`` go to the builder."""
        from maskwright.sam2.build_sam import build_sam2_video_predictor_hf

        return build_sam2_video_predictor_hf(model_id, **kwargs)

    def init_state(
        self,
        video_path: str | os.PathLike[str],
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
    ) -> InferenceState:
        """Open a video: a folder of pictures, or any file that FFmpeg reads.

        Frames are decoded when they are needed and memories beyond the latest are kept on the disk, so the
        three options change nothing; they are accepted.

        Raises:
            InputError: it cannot be opened.
        """
        return InferenceState(VideoFrames(video_path, self.config), self._runtime())

    def add_new_points_or_box(
        self,
        inference_state: InferenceState,
        frame_idx: int,
        obj_id: Any,
        points: npt.ArrayLike | Tensor | None = None,
        labels: npt.ArrayLike | Tensor | None = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: npt.ArrayLike | Tensor | None = None,
    ) -> FrameMasks:
        """Prompt an object in a frame with clicks, a box, or both.

        Args:
            inference_state: From :meth:`init_state`.
            frame_idx: Any frame of the video.
            obj_id: A new number or name adds an object.
            points: (K, 2), (x, y) pixels of the video.
            labels: (K,): 1 on the object, 0 not on it.
            clear_old_points: Replace what the object was prompted with in this frame; otherwise add to it.
            normalize_coords: False if coordinates are given in 0..1.
            box: (4,), xyxy.

        Returns:
            The frame, all object ids, and mask logits (N, 1, h, w) at the video's size.

        Raises:
            PromptError: malformed prompts.
            InputError: no such frame.
        """
        xy, marks = corners_and_clicks(points, labels, box, may_have_box=clear_old_points)
        at = self._in_model_frame(inference_state, xy, in_pixels=normalize_coords)
        added = (at, torch.tensor(marks))
        _check_frame(inference_state, frame_idx)
        one = _object(inference_state, obj_id)
        earlier = None if clear_old_points else one.points.get(frame_idx)
        if earlier is not None:
            added = (torch.cat((earlier[0], added[0])), torch.cat((earlier[1], added[1])))
        one.points[frame_idx] = added
        one.masked.discard(frame_idx)
        fresh = frame_idx not in one.tracked
        conditioning = fresh or self.add_all_frames_to_correct_as_cond
        previous_HW = inference_state.shown(one, frame_idx, conditioning=conditioning)
        runtime = self._runtime()
        features = inference_state.features(frame_idx)
        if fresh:
            seen = runtime.without_memory(features)
        else:
            backward = one.tracked[frame_idx]
            inference_state.recollect(one, frame_idx, backward=backward)
            now = self._moment(inference_state, [frame_idx], backward=backward)
            seen = step.recalled(runtime, features, inference_state.memories, [one.row], now)
        prompt = object_prompt(added[0].numpy(), added[1].numpy(), None, None)
        chosen = step.answer(runtime, seen, prompt, previous_HW, self._policy)
        return self._answered(inference_state, frame_idx, one, chosen, conditioning=conditioning)

    def add_new_points(self, *args: Any, **kwargs: Any) -> FrameMasks:
        """The older name of :meth:`add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **kwargs)

    def add_new_mask(
        self, inference_state: InferenceState, frame_idx: int, obj_id: Any, mask: npt.ArrayLike | Tensor
    ) -> FrameMasks:
        """Say what an object is by its mask (h, w) in a frame, bool.

        Raises:
            PromptError: not two axes.
            InputError: no such frame.
        """
        bitmap = np.asarray(mask).astype(np.bool_)
        if bitmap.ndim != 2:
            raise PromptError(f"the mask has shape {bitmap.shape}; expected (h, w)")
        _check_frame(inference_state, frame_idx)
        one = _object(inference_state, obj_id)
        one.masked.add(frame_idx)
        one.points.pop(frame_idx, None)
        conditioning = frame_idx not in one.tracked or self.add_all_frames_to_correct_as_cond
        features = inference_state.features(frame_idx)
        chosen = self._runtime().adopt(features, ask.bitmap_at_input_size(bitmap, self.image_size))
        return self._answered(inference_state, frame_idx, one, chosen, conditioning=conditioning)

    def propagate_in_video_preflight(self, inference_state: InferenceState) -> None:
        """Remember the answers to new prompts; :meth:`propagate_in_video` calls it.

        Raises:
            StateError: no object, or one without any prompt.
        """
        if not inference_state.objects:
            raise StateError(
                "nothing to propagate: add points, a box or a mask for at least one object first"
            )
        for number, one in inference_state.objects.items():
            for new, conditioning in ((one.new_followed, False), (one.new_prompted, True)):
                for frame, found in new.items():
                    # Like the official predictor: a correction does not replace a conditioning frame.
                    if conditioning or frame not in one.prompted:
                        self._remember_prompted(inference_state, one, frame, found, conditioning=conditioning)
                    self._forget_around(inference_state, one, frame)
                new.clear()
            if not one.prompted:
                raise StateError(f"object {number} has no prompt left; add points, a box or a mask for it")

    def propagate_in_video(
        self,
        inference_state: InferenceState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[FrameMasks]:
        """Follow all objects from frame to frame.

        Args:
            inference_state: From :meth:`init_state`.
            start_frame_idx: By default the earliest prompted frame.
            max_frame_num_to_track: Frames after the first one; one more is yielded. By default all.
            reverse: Go backward. From frame 0 there is nothing to do.

        Yields:
            The frame, all object ids, and mask logits (N, 1, h, w) at the video's size.

        Raises:
            StateError: no object, or one without any prompt.
        """
        self.propagate_in_video_preflight(inference_state)
        order = _order(inference_state, start_frame_idx, max_frame_num_to_track, reverse)
        for frame in tqdm(order, desc="propagate in video"):
            waiting = [one for one in inference_state.objects.values() if frame not in one.prompted]
            shown = self._follow(inference_state, frame, waiting, backward=reverse)
            for one in inference_state.objects.values():
                if one.serial not in shown:
                    shown[one.serial] = _known(inference_state.remembered(one, frame))
                    self._forget_around(inference_state, one, frame)
                one.tracked[frame] = reverse
            low_NHW = torch.stack([shown[one.serial] for one in inference_state.objects.values()])
            yield frame, inference_state.obj_ids, self._at_video_size(inference_state, low_NHW)

    def clear_all_prompts_in_frame(
        self, inference_state: InferenceState, frame_idx: int, obj_id: Any, need_output: bool = True
    ) -> FrameMasks | None:
        """Take back what an object was prompted with in a frame; a result of it stays as a tracked one."""
        one = _object(inference_state, obj_id)
        one.points.pop(frame_idx, None)
        one.masked.discard(frame_idx)
        one.new_prompted.pop(frame_idx, None)
        one.new_followed.pop(frame_idx, None)
        if frame_idx in one.prompted:
            one.prompted.discard(frame_idx)
            one.followed.add(frame_idx)
            one.tracked.pop(frame_idx, None)
        if not need_output:
            return None
        return self._consolidated(inference_state, frame_idx)

    def remove_object(
        self, inference_state: InferenceState, obj_id: Any, strict: bool = False, need_output: bool = True
    ) -> tuple[list[Any], list[tuple[int, Tensor]]]:
        """Stop following an object.

        Returns:
            The remaining ids, and new masks for the frames in which the object was prompted.

        Raises:
            InputError: ``strict``, and there is no such object.
        """
        if obj_id not in inference_state.objects:
            if strict:
                known = ", ".join(map(str, inference_state.obj_ids)) or "none"
                raise InputError(f"cannot remove object {obj_id}: there is none; there are: {known}")
            return inference_state.obj_ids, []
        if len(inference_state.objects) == 1:
            self.reset_state(inference_state)
            return inference_state.obj_ids, []
        one = inference_state.objects[obj_id]
        prompted = sorted(one.points.keys() | one.masked)
        inference_state.remove_object(obj_id)
        if not need_output:
            return inference_state.obj_ids, []
        updated = [(frame, self._consolidated(inference_state, frame)[2]) for frame in prompted]
        return inference_state.obj_ids, updated

    def reset_state(self, inference_state: InferenceState) -> None:
        """Forget all objects and prompts; the video stays open."""
        inference_state.forget_objects()

    def _runtime(self) -> Runtime:
        return self.native().runtime

    @property
    def _policy(self) -> OfficialPolicy:
        return OfficialPolicy(trust_unstable=not self.dynamic_multimask_via_stability)

    def _in_model_frame(self, state: InferenceState, xy: FloatArray, *, in_pixels: bool) -> Tensor:
        """Pixels of the video, or shares of its sides, as pixels of the network's input."""
        at = torch.tensor(xy)
        if in_pixels:
            at = at / torch.tensor([state["video_width"], state["video_height"]])
        return at * self.image_size

    def _moment(self, state: InferenceState, frames: list[int], *, backward: bool) -> Moment:
        span = min(len(state.frames), self.config.num_pointers) - 1
        return step.moment(frames, -1 if backward else 1, max(span, 1))

    def _filled(self, logits_NHW: Tensor) -> Tensor:
        return clean(logits_NHW, self.fill_hole_area, 0, fill=VIDEO_FILL)

    def _answered(
        self, state: InferenceState, frame: int, one: VideoObject, chosen: Chosen, *, conditioning: bool
    ) -> FrameMasks:
        """Note the answer to a prompt, to be remembered by the next propagation."""
        found = Found(self._filled(chosen.logits_OHW)[0], chosen.pointers_OC[0], chosen.object_score_O[0])
        (one.new_prompted if conditioning else one.new_followed)[frame] = found
        return self._consolidated(state, frame, conditioning=conditioning)

    def _consolidated(
        self, state: InferenceState, frame: int, *, conditioning: bool | None = None
    ) -> FrameMasks:
        """All objects of a frame as they stand, between propagations."""
        if conditioning is None:
            conditioning = any(frame in one.new_prompted for one in state.objects.values())
        side = self.config.mask_size
        nothing_HW = torch.full((side, side), NO_OBJECT, device=self.device)
        shown = [state.shown(one, frame, conditioning=conditioning) for one in state.objects.values()]
        low_NHW = torch.stack([nothing_HW if one is None else one for one in shown])
        return frame, state.obj_ids, self._at_video_size(state, low_NHW)

    def _at_video_size(self, state: InferenceState, low_NHW: Tensor) -> Tensor:
        full_NHW = upscale(low_NHW, state.frames.size)
        if self.non_overlap_masks:
            full_NHW = separate(full_NHW)
        return full_NHW[:, None]

    def _remember_prompted(
        self, state: InferenceState, one: VideoObject, frame: int, found: Found, *, conditioning: bool
    ) -> None:
        nowhere = torch.ones(1, device=self.device)
        chosen = Chosen(found.logits_HW[None], nowhere, found.pointer_C[None], found.object_score[None])
        state.memories.write(
            state.features(frame),
            chosen,
            [one.row],
            [frame],
            prompted=[conditioning],
            binary=[self.binarize_mask_from_pts_for_mem_enc],
            direction=1,
        )
        memory = state.memories.read(one.row, frame)
        trace = Trace(*memory, found.logits_HW.cpu(), found.object_score.cpu())
        state.history.put((one.serial, frame), trace)
        (one.prompted if conditioning else one.followed).add(frame)
        if conditioning:
            one.followed.discard(frame)

    def _forget_around(self, state: InferenceState, one: VideoObject, frame: int) -> None:
        if not self.clear_non_cond_mem_around_input:
            return
        reach = self.config.num_memories
        for other in range(frame - reach, frame + reach + 1):
            if other in one.followed:
                one.followed.discard(other)
                state.history.discard((one.serial, other))

    def _follow(
        self, state: InferenceState, frame: int, objects: list[VideoObject], *, backward: bool
    ) -> dict[int, Tensor]:
        """Follow objects into a frame and remember them; mask logits by serial number."""
        if not objects:
            return {}
        objects = sorted(objects, key=lambda one: one.row)
        for one in objects:
            state.recollect(one, frame, backward=backward)
        runtime, features = self._runtime(), state.features(frame)
        rows, frames = [one.row for one in objects], [frame] * len(objects)
        now = self._moment(state, frames, backward=backward)
        chosen = step.follow(runtime, features, state.memories, rows, now, self._policy)
        nobody = [False] * len(objects)
        state.memories.write(
            features, chosen, rows, frames, prompted=nobody, binary=nobody, direction=now.direction
        )
        shown_NHW = self._filled(chosen.logits_OHW)
        scores_N = chosen.object_score_O.cpu()
        for place, one in enumerate(objects):
            memory = state.memories.read(one.row, frame)
            state.history.put((one.serial, frame), Trace(*memory, shown_NHW[place].cpu(), scores_N[place]))
            one.followed.add(frame)
        return {one.serial: shown_NHW[place] for place, one in enumerate(objects)}


class SAM2VideoPredictorVOS(SAM2VideoPredictor):
    """What ``vos_optimized=True`` gives: the same predictor, which needs no compilation to be quick."""


def _object(state: InferenceState, number: Any) -> VideoObject:
    found = state.objects.get(number)
    return state.add_object(number) if found is None else found


def _check_frame(state: InferenceState, frame: int) -> None:
    if not 0 <= frame < len(state.frames):
        raise InputError(f"there is no frame {frame}; the video has frames 0 to {len(state.frames) - 1}")


def _known(logits_HW: Tensor | None) -> Tensor:
    assert logits_HW is not None
    return logits_HW


def _order(state: InferenceState, start: int | None, most: int | None, reverse: bool) -> range:
    """Frames in the order in which a propagation visits them."""
    num_frames = len(state.frames)
    if start is None:
        start = min(frame for one in state.objects.values() for frame in one.prompted)
    most = num_frames if most is None else most
    if not reverse:
        return range(start, min(start + most, num_frames - 1) + 1)
    return range(start, max(start - most, 0) - 1, -1) if start > 0 else range(0)
