"""Motion-compensated CAM-TMP: neighbours follow the frame's motion before the maximum is taken."""

from collections.abc import Sequence

import numpy as np
from skimage.registration import phase_cross_correlation
from skimage.transform import AffineTransform, warp

# Of the side on which frames are compared: larger ones cost more and say no more of a map of 28 x 28.
COMPARED_SIZE = 64
_UPSAMPLED = 10


def align_maps(maps: np.ndarray, frames: Sequence[np.ndarray], reference: int) -> np.ndarray:
    """Shift every map as its frame has to be shifted to lie on the reference frame.

    The shift of a frame is the peak of its phase correlation, to a tenth of a pixel: one for the whole frame,
    so the motion of the camera, or of an object that fills it. What comes in from outside is 0, which never
    wins a maximum.

    Args:
        maps: (m, h, w) CAMs.
        frames: m frames, (S, S, 3) uint8.
        reference: which of them stays where it is.
    """
    greys = [np.asarray(frame, np.float32).mean(2) for frame in frames]
    size = np.array(greys[reference].shape)
    aligned = np.array(maps, np.float32)
    for place, grey in enumerate(greys):
        if place != reference and grey.std() > 0 and greys[reference].std() > 0:
            moved, _, _ = phase_cross_correlation(greys[reference], grey, upsample_factor=_UPSAMPLED)
            if moved.any():
                down, right = moved * maps.shape[1:] / size
                source = AffineTransform(translation=(-right, -down))
                aligned[place] = warp(aligned[place], source, order=1, cval=0.0, preserve_range=True)
    return aligned
