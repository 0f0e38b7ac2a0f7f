"""How good are the masks, by box, by clicks, through video? ``maskwright eval`` measures."""
