"""Training: the image half of nano on cached trunk features (``python -m maskwright.train``)."""
