"""How good are the masks, by box, by one and five clicks? ``python -m maskwright.evaluate`` measures."""
