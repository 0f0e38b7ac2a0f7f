"""How good are the masks: boxes, one click, five clicks on labelled pictures (``python -m maskwright.evaluate``)."""
