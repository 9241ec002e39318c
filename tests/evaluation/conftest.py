"""Small sweeps whose every number can be worked out by hand."""

import numpy as np
import pytest

from tcam_cache.evaluation import FrameSweep
from tcam_cache.records import Box


@pytest.fixture(scope="session")
def make_sweep():
    """Return a maker of sweeps over as many taus as there are IoUs; the boxes are 10 pixels wide squares."""

    def make(ious, tag="bird", predicted="bird", shot="bird/1/1", t=0, otsu=0.0, box=(0, 0, 10, 10), **given):
        fields = {
            "path": f"{shot}/{t}.jpg",
            "tag": tag,
            "predicted_tag": predicted,
            "video": shot.rsplit("/", 1)[0],
            "shot": shot,
            "t": t,
            "true_boxes": (Box(0, 0, 10, 10),),
            "boxes": np.tile(np.float32(box), (len(ious), 1)),
            "ious": np.array(ious, float),
            "any_ious": np.array(ious, float),
            "otsu_box": np.float32(box),
            "otsu_iou": otsu,
            "flat": False,
            "mode": "components",
        }
        return FrameSweep(**{**fields, **given})

    return make
