"""Image sources → deterministic batches.

`locate` finds the canonical name of a data set, `defaults` suggests settings for it, `content_of` gives its counts and
fingerprint, `load` reads its splits, `batches` and `evaluation_batches` give normalised tensors. A data set is
scikit-learn's digits, a folder of images, Parquet files, tar shards (local or at s3://, gs://), a torchvision data set
or one on Hugging Face's Hub; a further kind of data is one class (`darl.data.sources.kind`). Importing this package
imports nothing heavier than torch: the libraries that read and decode images are imported where they are used.
"""

from darl.data.augment import Augment, augment_batch, crop_boxes, normalize
from darl.data.batches import Batch, batches, evaluation_batches
from darl.data.content import DataContent
from darl.data.dataset import Dataset, content_of, load
from darl.data.found import Decision
from darl.data.locate import Defaults, defaults, locate
from darl.data.shuffle import epoch_order, steps_per_epoch
from darl.data.splits import Images, Stream

__all__ = [
    "Augment",
    "Batch",
    "DataContent",
    "Dataset",
    "Decision",
    "Defaults",
    "Images",
    "Stream",
    "augment_batch",
    "batches",
    "content_of",
    "crop_boxes",
    "defaults",
    "epoch_order",
    "evaluation_batches",
    "load",
    "locate",
    "normalize",
    "steps_per_epoch",
]
