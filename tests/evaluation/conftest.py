"""Small sweeps whose every number can be worked out by hand."""

import numpy as np
import pytest

from tcam_cache.evaluation import FrameSweep, StoredReport, score
from tcam_cache.records import Box

# Two frames of one video of a bird, one of another, and one of a cat.
SHOTS = ("bird/1/1", "bird/1/1", "bird/2/1", "cat/1/1")


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


@pytest.fixture(scope="session")
def make_report(make_sweep):
    """Return a maker of stored reports of frames with these IoUs under the one threshold."""

    def make(
        name="tcam", ious=(0.9, 0.6, 0.2, 0.8), shots=SHOTS, predicted="bird", mode="components", **given
    ):
        sweeps = [
            make_sweep(
                [iou], tag=shot.split("/")[0], shot=shot, t=t, otsu=iou, predicted=predicted, mode=mode
            )
            for t, (iou, shot) in enumerate(zip(ious, shots, strict=True))
        ]
        settings = {"split": "test", "method": "tcam", "ms_per_frame": 4.0, **given}
        evaluation = score(sweeps, "oracle", taus=np.array([0.0]), **settings)
        return StoredReport(name, evaluation.metrics, evaluation.rows, f"reports/{name}")

    return make
