"""Finding every object of a picture: clicks all over it and over its crops, without what is weak."""
