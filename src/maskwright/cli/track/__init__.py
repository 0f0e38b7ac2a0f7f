"""``maskwright track``: from a video and prompts to a tinted video, masks, cut-outs and a log."""
