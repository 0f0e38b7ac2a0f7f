"""The shortest documented use: predictors by the name of their repository, inside autocast."""

import numpy as np
import torch
from PIL import Image
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.sam2_image_predictor import SAM2ImagePredictor
from sam2.sam2_video_predictor import SAM2VideoPredictor

image = np.array(Image.open("scene.png").convert("RGB"))

predictor = SAM2ImagePredictor.from_pretrained("facebook/sam2.1-hiera-tiny")
with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
    predictor.set_image(image)
    masks, scores, _ = predictor.predict(point_coords=[[36, 44]], point_labels=[1])
print("image", masks.shape, scores.shape)

generator = SAM2AutomaticMaskGenerator.from_pretrained("facebook/sam2.1-hiera-tiny", points_per_side=2)
print("everything", type(generator.generate(image)).__name__)

predictor = SAM2VideoPredictor.from_pretrained("facebook/sam2.1-hiera-tiny")
with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
    state = predictor.init_state("frames")
    frame_idx, object_ids, masks = predictor.add_new_points_or_box(
        state, frame_idx=0, obj_id=1, points=[[36, 44]], labels=[1]
    )
    for frame_idx, object_ids, masks in predictor.propagate_in_video(state):
        print("video", frame_idx, object_ids, tuple(masks.shape))
