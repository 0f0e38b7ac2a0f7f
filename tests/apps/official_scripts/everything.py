"""Automatic masks with the official generator's documented settings and records."""

import argparse

import numpy as np
import torch
from PIL import Image
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.build_sam import build_sam2

parser = argparse.ArgumentParser()
parser.add_argument("--config", default="configs/sam2.1/sam2.1_hiera_t.yaml")
parser.add_argument("--checkpoint", default="checkpoints/sam2.1_hiera_tiny.pt")
args = parser.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
sam2 = build_sam2(args.config, args.checkpoint, device=device, apply_postprocessing=False)
image = np.array(Image.open("scene.png").convert("RGB"))

mask_generator = SAM2AutomaticMaskGenerator(sam2, points_per_side=4)
for mask in mask_generator.generate(image):
    print("defaults", sorted(mask))

mask_generator = SAM2AutomaticMaskGenerator(
    model=sam2,
    points_per_side=4,
    points_per_batch=12,
    pred_iou_thresh=0.3,
    stability_score_thresh=0.6,
    stability_score_offset=0.7,
    crop_n_layers=1,
    box_nms_thresh=0.7,
    crop_n_points_downscale_factor=2,
    min_mask_region_area=25.0,
    use_m2m=True,
)
anns = mask_generator.generate(image)
print(len(anns), "masks")
canvas = np.ones((*image.shape[:2], 4))
canvas[:, :, 3] = 0
for ann in sorted(anns, key=lambda one: one["area"], reverse=True):
    canvas[ann["segmentation"]] = np.concatenate([np.random.default_rng(0).random(3), [0.5]])
    x, y, w, h = ann["bbox"]
    assert 0 <= x <= x + w <= image.shape[1], ann["bbox"]
    assert 0 <= y <= y + h <= image.shape[0], ann["bbox"]
    assert ann["area"] == ann["segmentation"].sum()
    assert len(ann["point_coords"]) == 1
    assert ann["predicted_iou"] > 0.3
    assert ann["stability_score"] >= 0.6
np.savez("results.npz", masks=np.array([ann["segmentation"] for ann in anns]).reshape(-1, *image.shape[:2]))
