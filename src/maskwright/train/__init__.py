"""Training (``maskwright train``): fine-tuning of any model, and nano from scratch."""
