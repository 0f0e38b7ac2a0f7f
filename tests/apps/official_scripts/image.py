"""Points, boxes, masks and batches with the official image predictor's documented calls."""

import argparse

import numpy as np
import torch
from PIL import Image
from sam2.build_sam import build_sam2
from sam2.sam2_image_predictor import SAM2ImagePredictor

parser = argparse.ArgumentParser()
parser.add_argument("--config", default="configs/sam2.1/sam2.1_hiera_t.yaml")
parser.add_argument("--checkpoint", default="checkpoints/sam2.1_hiera_tiny.pt")
args = parser.parse_args()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
sam2_model = build_sam2(args.config, args.checkpoint, device=device)
predictor = SAM2ImagePredictor(sam2_model)
image = np.array(Image.open("scene.png").convert("RGB"))
predictor.set_image(image)
print("embedding", predictor._features["image_embed"].shape, predictor._features["image_embed"][-1].shape)
results = {}

# a click, three answers, the best first
point_coords, point_labels = np.array([[36, 44]]), np.array([1])
masks, scores, logits = predictor.predict(
    point_coords=point_coords, point_labels=point_labels, multimask_output=True
)
order = np.argsort(scores)[::-1]
masks, scores, logits = masks[order], scores[order], logits[order]
print("click", masks.shape, masks.dtype, scores.shape, logits.ndim)
results["click"] = masks[0]

# the best answer again, with a second click on the object
again, _, _ = predictor.predict(
    point_coords=np.array([[36, 44], [30, 38]]),
    point_labels=np.array([1, 1]),
    mask_input=logits[0][None, :, :],
    multimask_output=False,
)
print("again", again.shape)
results["again"] = again[0]

# a box, and a box with a click that does not belong to the object
box = np.array([76, 30, 112, 80])
boxed, _, _ = predictor.predict(
    point_coords=None, point_labels=None, box=box[None, :], multimask_output=False
)
print("box", boxed.shape)
results["box"] = boxed[0]
both, _, _ = predictor.predict(
    point_coords=np.array([[36, 44]]), point_labels=np.array([0]), box=box, multimask_output=False
)
results["both"] = both[0]

# several boxes at once, as a detector gives them
several, several_scores, _ = predictor.predict(
    box=torch.tensor([[14, 22, 58, 66], [76, 30, 112, 80]]), multimask_output=False
)
print("boxes", several.shape, several_scores.shape)
results["disc"], results["rectangle"] = several.squeeze(1)

# a batch of pictures: boxes for each, then clicks for each
mirrored = np.ascontiguousarray(image[:, ::-1])
predictor.set_image_batch([image, mirrored])
boxes = [np.array([[14, 22, 58, 66], [76, 30, 112, 80]]), np.array([[16, 30, 52, 80]])]
batch, batch_scores, _ = predictor.predict_batch(None, None, box_batch=boxes, multimask_output=False)
print("batch", [one.shape for one in batch], [one.shape for one in batch_scores])
results["mirrored"] = batch[1][0]
clicks = [np.array([[[36, 44]], [[94, 55]]]), np.array([[[91, 44]]])]
labels = [np.array([[1], [1]]), np.array([[1]])]
batch, batch_scores, _ = predictor.predict_batch(clicks, labels, box_batch=None, multimask_output=True)
best = [
    one[range(len(one)), np.argmax(score, axis=-1)] if one.ndim == 4 else one[None, np.argmax(score)]
    for one, score in zip(batch, batch_scores, strict=True)
]
print("clicks", [one.shape for one in best])
predictor.reset_predictor()
np.savez("results.npz", **results)
