"""The first class of EfficientNet-Lite0 in named real frames: names, preprocessing and weights agree."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tcam_cache.datasets.frames import squashed
from tcam_cache.models import Classifier, pretrained_network
from tcam_cache.models.backbone import torchvision_models
from tcam_cache.models.weights import read_state_dicts

DATA = Path(__file__).parents[3] / "shared/data"
DAVIS, WEIGHTS = DATA / "davis", DATA / "weights/efficientnet-lite0.pth"
LITE = "timm:tf_efficientnet_lite0"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real videos are not beside the checkout"),
    pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed"),
]


@pytest.fixture(scope="module")
def lite0():
    """Lite0 with its thousand classes of ImageNet, at its own stride."""
    names = torchvision_models().get_model_weights("resnet18").DEFAULT.meta["categories"]
    model = Classifier(LITE, names, 32, network=pretrained_network(LITE, str(WEIGHTS)))
    head = read_state_dicts(WEIGHTS)[""]
    model.head.load_state_dict({"weight": head["_fc.weight"], "bias": head["_fc.bias"]})
    return model.freeze()


@pytest.mark.parametrize(
    ("frame", "seen", "probability"),
    [
        ("bird/0001/001/frame0026.jpg", "black swan", 0.82),
        ("bird/0003/001/frame0041.jpg", "flamingo", 0.85),
        ("car/0001/001/frame0038.jpg", "minivan", 0.44),
        ("hoofed/0001/001/frame0046.jpg", "Arabian camel", 0.51),
        ("motorbike/0001/001/frame0022.jpg", "motor scooter", 0.43),
    ],
)
def test_its_first_guess_of_a_frame_is_what_the_frame_shows(lite0, frame, seen, probability):
    how = lite0.preprocessing
    with Image.open(DAVIS / frame) as image:
        pixels = squashed(np.array(image.convert("RGB")), how.size, how.interpolation)
    found = lite0(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255).softmax(1)[0]
    assert lite0.classes[int(found.argmax())] == seen
    assert float(found.max()) == pytest.approx(probability, abs=0.02)
