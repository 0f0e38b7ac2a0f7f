"""The networks of SAM 2: tensors in, tensors out.

Nothing here knows of files, devices, pictures or users. Axis letters in tensor names, everywhere in
this package: B pictures, P prompts (objects) per picture, N = B x P or any batch, O objects of a video,
S memory slots, T tokens, K points per object, M masks per object, C channels, D channels of one
attention head, H W height and width.
"""
