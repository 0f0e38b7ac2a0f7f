"""Clicks, refinement, several objects, masks and going backward with the official video predictor's calls."""

# ruff: noqa: PTH118, PTH122, PTH208

import argparse
import os

import numpy as np
import torch
from PIL import Image
from sam2.build_sam import build_sam2_video_predictor

parser = argparse.ArgumentParser()
parser.add_argument("--config", default="configs/sam2.1/sam2.1_hiera_t.yaml")
parser.add_argument("--checkpoint", default="checkpoints/sam2.1_hiera_tiny.pt")
args = parser.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
predictor = build_sam2_video_predictor(args.config, args.checkpoint, device=device)

video_dir = "frames"
frame_names = [name for name in os.listdir(video_dir) if os.path.splitext(name)[-1] in (".jpg", ".jpeg")]
frame_names.sort(key=lambda name: int(os.path.splitext(name)[0]))
with Image.open(os.path.join(video_dir, frame_names[0])) as first:
    width, height = first.size
inference_state = predictor.init_state(
    video_path=video_dir, offload_video_to_cpu=True, async_loading_frames=True
)
assert inference_state["num_frames"] == len(frame_names)
assert (inference_state["video_height"], inference_state["video_width"]) == (height, width)
results = {}


def propagate(**options):
    """Masks by frame and object."""
    segments = {}
    for out_frame_idx, out_obj_ids, out_mask_logits in predictor.propagate_in_video(
        inference_state, **options
    ):
        segments[out_frame_idx] = {
            out_obj_id: (out_mask_logits[place] > 0.0).cpu().numpy()
            for place, out_obj_id in enumerate(out_obj_ids)
        }
    return segments


# one click
predictor.reset_state(inference_state)
points, labels = np.array([[36, 44]], dtype=np.float32), np.array([1], np.int32)
frame_idx, obj_ids, mask_logits = predictor.add_new_points_or_box(
    inference_state=inference_state, frame_idx=0, obj_id=1, points=points, labels=labels
)
print("click", frame_idx, obj_ids, tuple(mask_logits.shape))

# and another in the same frame: all clicks are sent again
points, labels = np.array([[36, 44], [94, 55]], dtype=np.float32), np.array([1, 0], np.int32)
predictor.add_new_points_or_box(
    inference_state=inference_state, frame_idx=0, obj_id=1, points=points, labels=labels
)
segments = propagate()
print("propagated", sorted(segments), segments[0][1].shape, segments[0][1].dtype)
results["clicked"] = np.concatenate([segments[frame][1] for frame in sorted(segments)])

# a refinement in a later frame, and the rest once more
predictor.add_new_points_or_box(
    inference_state=inference_state,
    frame_idx=3,
    obj_id=1,
    points=np.array([[48, 44]], dtype=np.float32),
    labels=np.array([1], np.int32),
)
segments = propagate(start_frame_idx=3, max_frame_num_to_track=2)
print("refined", sorted(segments))

# two objects: a box with a click, and a mask
predictor.reset_state(inference_state)
prompts = {}
prompts["disc"] = np.array([14, 22, 58, 66], dtype=np.float32)
predictor.add_new_points_or_box(
    inference_state=inference_state,
    frame_idx=0,
    obj_id=2,
    points=np.array([[36, 44]], dtype=np.float32),
    labels=np.array([1], np.int32),
    box=prompts["disc"],
)
rectangle = torch.zeros(height, width, dtype=torch.bool)
rectangle[30:80, 76:112] = True
_, obj_ids, mask_logits = predictor.add_new_mask(inference_state, frame_idx=0, obj_id=3, mask=rectangle)
print("two", obj_ids, tuple(mask_logits.shape))
segments = propagate()
results["disc"] = np.concatenate([segments[frame][2] for frame in sorted(segments)])
results["rectangle"] = np.concatenate([segments[frame][3] for frame in sorted(segments)])

# a third one that enters later; one goes; a prompt is taken back
predictor.add_new_points_or_box(
    inference_state=inference_state, frame_idx=4, obj_id=9, box=np.array([90, 5, 120, 25], dtype=np.float32)
)
print("three", sorted(propagate()[4]))
remaining, _ = predictor.remove_object(inference_state, 9)
print("left", remaining)
predictor.clear_all_prompts_in_frame(inference_state, 0, 3)
predictor.add_new_points_or_box(
    inference_state=inference_state, frame_idx=0, obj_id=3, box=np.array([76, 30, 112, 80], dtype=np.float32)
)

# backward, from the end
predictor.reset_state(inference_state)
last = len(frame_names) - 1
predictor.add_new_points_or_box(
    inference_state=inference_state,
    frame_idx=last,
    obj_id=1,
    box=np.array([14 + 4 * last, 22, 58 + 4 * last, 66], dtype=np.float32),
)
segments = propagate(reverse=True)
print("backward", list(segments))
results["backward"] = np.concatenate([segments[frame][1] for frame in sorted(segments)])
np.savez("results.npz", **results)
