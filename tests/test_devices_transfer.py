import pytest
import torch

from tcam_cache.devices import as_images, on_device


def test_images_are_the_frames_as_numbers_from_0_to_1():
    rgb = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    images = as_images(rgb, torch.device("cpu"))
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, rgb / 255)


@pytest.mark.parametrize(("kind", "waits"), [("cuda", False), ("mps", True), ("cpu", True)])
def test_only_on_cuda_the_host_goes_on_before_the_copy_is_made(kind, waits):
    calls = []

    class Spy:
        def to(self, device, non_blocking):
            calls.append((device, non_blocking))

    device = torch.device(kind)
    on_device(Spy(), device)
    assert calls == [(device, not waits)]
