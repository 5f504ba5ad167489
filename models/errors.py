"""What can be wrong with images, model files and data sets, wherever they are read.

    ParallaxError
    ├── ImageError                one image is at fault, nothing else
    │   ├── EmptyImage            no bytes
    │   ├── UnsupportedImage      not a JPEG, PNG, WebP, BMP or GIF
    │   ├── BrokenImage           truncated or corrupt
    │   ├── UnreadableImage       its file or its address gives no bytes
    │   ├── ImageTooLarge         more bytes or pixels than allowed
    │   └── ImageTooSmall         a side under `imaging.MIN_SIDE`
    ├── ModelError                one version of a model is at fault
    │   ├── BrokenModel           files missing, altered or unreadable
    │   ├── GoldenMismatch        it runs, but does not answer as it did when it was exported
    │   └── UnknownModel          no such name or version in the store
    ├── DatasetError              a set of labelled images can't be used as it is
    │   └── SeveralSets           it holds several, and none was named
    └── UsageError                what was asked for can't be done; the message says what can

The message of each says what to do about it, for the person who will read it.
"""


class ParallaxError(Exception):
    """Root of every error that Parallax raises on purpose."""


class ImageError(ParallaxError):
    """One image is at fault."""


class EmptyImage(ImageError):
    """There are no bytes."""


class UnsupportedImage(ImageError):
    """The bytes are none of the formats that Parallax reads."""


class BrokenImage(ImageError):
    """The file begins like an image and can't be decoded to its end."""


class UnreadableImage(ImageError):
    """The file or the address of an image in a set gives no bytes."""


class ImageTooLarge(ImageError):
    """More bytes or pixels than allowed."""


class ImageTooSmall(ImageError):
    """Too few pixels to hold a picture."""


class ModelError(ParallaxError):
    """One version of a model is at fault."""


class BrokenModel(ModelError):
    """A file of the version is missing, altered or unreadable."""


class GoldenMismatch(ModelError):
    """The model does not reproduce its golden vectors."""


class UnknownModel(ModelError):
    """The store has no such name or version."""


class DatasetError(ParallaxError):
    """A set of labelled images can't be used as it is."""


class SeveralSets(DatasetError):
    """It holds several sets of class folders, and none was named."""


class UsageError(ParallaxError):
    """What was asked for can't be done."""
