"""The cut-outs and backgrounds of the demo set, from photographs in scikit-image."""

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from tcam_cache.errors import FrameError

# Outlines are drawn at this scale and averaged down, so that a cut-out's edge is smooth.
_RIM = 4


@lru_cache(maxsize=1)
def demo_facts() -> Mapping[str, Any]:
    """Return the shipped facts: tagged `cutouts`, `distractors` without a tag, and `backgrounds`."""
    return json.loads(resources.files("tcam_cache_data").joinpath("demo.json").read_text(encoding="utf-8"))


def cut_out(fact: Mapping[str, Any]) -> Image.Image:
    """Return the part of a photograph inside an outline: RGBA, cropped, transparent outside.

    Args:
        fact: `photograph`, `outline` in its pixels, and `colours` where a grey photograph is to be coloured.
    """
    photograph = _photograph(fact)
    wide = Image.new("L", (photograph.width * _RIM, photograph.height * _RIM))
    # A vertex is a pixel index; the pixel's centre is at + 0.5.
    vertices = [((x + 0.5) * _RIM, (y + 0.5) * _RIM) for x, y in fact["outline"]]
    ImageDraw.Draw(wide).polygon(vertices, fill=255)
    mask = wide.resize(photograph.size, Image.Resampling.BOX)
    photograph.putalpha(mask)
    return photograph.crop(mask.getbbox())


def background(fact: Mapping[str, Any]) -> Image.Image:
    """Return a crop of a photograph as RGB, coloured by `colours` if the photograph is grey."""
    return _photograph(fact).crop(fact["crop"])


def _photograph(fact: Mapping[str, Any]) -> Image.Image:
    name = fact["photograph"]
    try:
        with resources.files("skimage").joinpath("data", name).open("rb") as file, Image.open(file) as image:
            if "colours" in fact:
                dark, light = fact["colours"]
                return ImageOps.colorize(image.convert("L"), tuple(dark), tuple(light))
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise FrameError(
            "the installed scikit-image lacks a photograph of the demo set. Install version 0.24 or later.",
            [f"skimage/data/{name}: missing"],
        ) from error
