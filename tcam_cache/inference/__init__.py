"""A trained run at work: frames become maps, maps become boxes, boxes are scored."""
