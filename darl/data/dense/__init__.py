"""Images with masks, and images with boxes: data that has more to say about an image than one label.

It does not come as a `darl.data.Dataset`, whose images all have one size and one label. Each kind is a module here with
its own splits: `segmentation` (images beside masks of class indices, read by
`masked_images`) and `coco` (boxes, classes and instance masks).
"""
