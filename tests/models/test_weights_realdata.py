"""What EfficientNet-Lite0 sees in named real frames, with its names, mean and interpolation as they were."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tcam_cache.datasets.frames import squashed
from tcam_cache.models import Classifier, pretrained_network
from tcam_cache.models.backbone import torchvision_models
from tcam_cache.models.weights import PACKAGED, packaged_file, read_state_dicts

DAVIS = Path(__file__).parents[3] / "shared/data/davis"
LITE = "timm:tf_efficientnet_lite0"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DAVIS.is_dir(), reason="the real videos are not beside the checkout"),
    pytest.mark.skipif(
        find_spec("timm") is None or find_spec(PACKAGED[LITE].package) is None,
        reason="the extra lite is not installed",
    ),
]


@pytest.fixture(scope="module")
def lite0():
    """Lite0 with its thousand classes of ImageNet, at its own stride."""
    names = torchvision_models().get_model_weights("resnet18").DEFAULT.meta["categories"]
    model = Classifier(LITE, names, 32, network=pretrained_network(LITE, "imagenet"))
    head = read_state_dicts(packaged_file(PACKAGED[LITE]))[""]
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
