import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_dilation
from scipy.stats import chisquare
from skimage.measure import label, regionprops

from tcam_cache.config import train_config
from tcam_cache.config.train import PRESETS, REGIONS
from tcam_cache.training.pseudo_labels import (
    IGNORE,
    draw_pseudo_labels,
    foreground_region,
    regions,
    seed_regions,
)

ALL = {"fg_top": 1.0, "bg_low": None, "pixels": 1, "dilate": False}
SURE = 1e-3  # p-values below it reject; the seeds are fixed, so a test passes always or never


def smooth_cams(batch=3, size=28, seed=0):
    coarse = torch.rand(batch, 1, 7, 7, generator=torch.Generator().manual_seed(seed)) ** 3
    cams = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)[:, 0]
    low, high = cams.amin((1, 2), keepdim=True), cams.amax((1, 2), keepdim=True)
    return (cams - low) / (high - low)


def noise_like(cams, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2**31 - 1, (len(cams), 2, *cams.shape[1:]), generator=generator)


def many(cam, draws):
    return torch.tensor(cam)[None].expand(draws, -1, -1), torch.arange(draws)


def sampling(preset):
    """Return what a preset draws, without its other settings."""
    settings = train_config(preset, manifest=".", cache=".", out=".")
    return {name: getattr(settings, name) for name in ALL}


def test_foreground_is_drawn_by_activation():
    cam = [[0.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.9, 0.8, 0.7, 0.6]]
    cams, seeds = many(cam, 8_000)
    drawn = (draw_pseudo_labels(cams, seeds, **ALL).labels == 1).sum(0)
    weights = np.array(cam[1]) / np.sum(cam[1])
    assert drawn[0].sum() == 0
    assert chisquare(drawn[1].numpy(), 8_000 * weights).pvalue > SURE


def test_two_foreground_pixels_are_drawn_without_replacement_one_after_the_other():
    weights = np.array([1.0, 0.75, 0.5])
    cams, seeds = many([[0.0] * 9, [0.0] * 6 + list(weights)], 8_000)
    labels = draw_pseudo_labels(cams, seeds, **{**ALL, "pixels": 2}).labels[:, 1, 6:]
    left_out = (labels != 1).float()
    assert left_out.sum(1).eq(1).all()
    share = weights / weights.sum()
    # The pair {i, j} comes as i then j or j then i, each a multinomial draw out of what is left.
    expected = [
        share[i] * share[j] * (1 / (1 - share[i]) + 1 / (1 - share[j])) for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    assert chisquare(left_out.sum(0).numpy(), 8_000 * np.array(expected)).pvalue > SURE


def test_with_a_level_foreground_is_what_reaches_that_share_of_the_peak():
    cam = (
        torch.tensor([[[0.0, 0.0, 0.0, 0.0], [0.5, 0.69, 0.7, 0.8]]])
        * torch.tensor([1.0, 0.5])[:, None, None]
    )
    areas = seed_regions(cam, noise_like(cam), fg_top=1.0, bg_low=None, fg_level=0.875)
    assert areas[:, 1, 1].tolist() == [[False, False, True, True]] * 2
    assert not areas[:, 1, 0].any()
    assert torch.equal(areas[:, 0], ~regions(cam).foreground)  # what is doubtful is not background either


@given(hnp.arrays(np.float32, (2, 6, 5), elements=st.floats(0, 1, width=32)), st.floats(0, 1))
def test_a_level_never_leaves_a_map_without_foreground(maps, level):
    cams = torch.from_numpy(maps)
    plain = seed_regions(cams, noise_like(cams), fg_top=0.5, bg_low=None)
    strict = seed_regions(cams, noise_like(cams), fg_top=0.5, bg_low=None, fg_level=level)
    assert torch.equal(plain.flatten(2).any(2), strict.flatten(2).any(2))


def test_background_is_drawn_uniformly_from_all_of_the_complement():
    cams, seeds = many([[0.0, 0.1, 0.2], [0.3, 0.0, 1.0]], 8_000)
    drawn = (draw_pseudo_labels(cams, seeds, **ALL).labels == 0).sum(0).flatten()
    assert drawn[5] == 0
    assert chisquare(drawn[:5].numpy()).pvalue > SURE


@pytest.mark.parametrize("preset", list(PRESETS))
def test_one_draw_of_a_preset_has_the_distribution_it_says(preset):
    cam = torch.tensor([[0.0, 0.02, 0.05, 0.05, 0.1], [0.1, 0.2, 0.2, 0.7, 0.75], [0.6, 0.9, 1.0, 0.8, 0.65]])
    options = {**sampling(preset), "pixels": 1, "dilate": False}
    ranked = cam[regions(cam[None]).foreground[0]].sort(descending=True).values
    assert len(ranked) == 7
    kept = ranked[: max(1, int(options["fg_top"] * 7))]
    lowest = cam.flatten().sort().values[: 8 if options["bg_low"] is None else int(options["bg_low"] * 15)]
    cams, seeds = many(cam.tolist(), 6_000)
    labels = draw_pseudo_labels(cams, seeds, **options).labels
    foreground, background = ((labels == label).sum(0) for label in (1, 0))
    assert foreground.sum() == background.sum() == 6_000
    got = torch.stack([foreground[cam == value].sum() for value in kept])
    assert got.sum() == 6_000
    assert len(kept) == 1 or chisquare(got, 6_000 * kept.double() / kept.double().sum()).pvalue > SURE
    got = [background[cam == value].sum() for value in lowest.unique()]
    assert sum(got) == 6_000
    expected = [6_000 * float((lowest == value).float().mean()) for value in lowest.unique()]
    assert len(got) == 1 or chisquare(got, expected).pvalue > SURE


def test_pixels_of_one_value_at_the_background_cut_are_equally_likely():
    cam = torch.zeros(4, 10)
    cam[0, 0] = 1.0
    cams, seeds = many(cam.tolist(), 8_000)
    drawn = (draw_pseudo_labels(cams, seeds, **{**ALL, "bg_low": 0.1, "pixels": 3}).labels == 0).sum(0)
    assert drawn[0, 0] == 0
    assert chisquare(drawn.flatten()[1:].numpy()).pvalue > SURE


def test_pixels_of_one_value_at_the_foreground_cut_are_equally_likely():
    cam = torch.zeros(5, 8)
    cam[3:] = 0.9
    cam[4, 7] = 1.0
    cams, seeds = many(cam.tolist(), 8_000)
    drawn = (draw_pseudo_labels(cams, seeds, **{**ALL, "fg_top": 0.25, "pixels": 4}).labels == 1).sum(0)
    assert drawn[4, 7] == 8_000
    assert chisquare(drawn[3:].flatten()[:-1].numpy()).pvalue > SURE


def test_breaking_ties_at_a_cut_does_not_favour_who_is_kept():
    cams, seeds = many([[0.0, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 1.0]], 8_000)
    labels = draw_pseudo_labels(cams, seeds, **{**ALL, "fg_top": 0.5, "bg_low": 0.25}).labels[:, 0]
    background, foreground = ((labels == label).sum(0).numpy() for label in (0, 1))
    one_of_three = np.full(3, 1 / 3)
    assert chisquare(background[:4], 8_000 * np.array([0.5, *0.5 * one_of_three])).pvalue > SURE
    share = 0.9 / 1.9
    assert chisquare(foreground[4:], 8_000 * np.array([*share * one_of_three, 1 - share])).pvalue > SURE


def test_a_negative_zero_ranks_as_zero():
    cams = smooth_cams(1).clamp(min=0.2) - 0.2
    signed = cams.clone()
    signed[..., ::2] = torch.where(cams[..., ::2] == 0, -0.0, cams[..., ::2])
    for preset in PRESETS:
        drawn = draw_pseudo_labels(signed, torch.tensor([1]), **sampling(preset)).labels
        assert torch.equal(drawn, draw_pseudo_labels(cams, torch.tensor([1]), **sampling(preset)).labels)


def test_foreground_and_background_are_drawn_independently():
    cams, seeds = many([[0.0, 0.0, 0.0, 0.9, 1.0, 0.9]], 8_000)
    for options in (ALL, {**ALL, "fg_top": 0.7, "bg_low": 0.34}):
        labels = draw_pseudo_labels(cams, seeds, **options).labels[:, 0]
        table = torch.einsum("bi,bj->ij", (labels[:, :3] == 0).double(), (labels[:, 3:] == 1).double())
        expected = table.sum(1, keepdim=True) * table.sum(0) / 8_000
        assert ((table - expected) ** 2 / expected).nansum() < 18.47  # chi-square, 4 degrees of freedom


def test_the_paper_draws_from_all_of_both_regions():
    cams = smooth_cams()
    foreground = regions(cams).foreground
    options = sampling("paper")
    areas = seed_regions(cams, noise_like(cams), fg_top=options["fg_top"], bg_low=options["bg_low"])
    assert torch.equal(areas, torch.stack([~foreground, foreground], 1))


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "paper"])
def test_a_preset_draws_from_its_fractions_of_the_ranked_pixels(preset):
    options = sampling(preset)
    cams = smooth_cams()
    areas = seed_regions(cams, noise_like(cams), fg_top=options["fg_top"], bg_low=options["bg_low"])
    for cam, region, (background, foreground) in zip(cams, regions(cams).foreground, areas, strict=True):
        highest = cam[region].sort(descending=True).values
        kept = int(options["fg_top"] * len(highest))
        assert torch.equal(cam[foreground].sort(descending=True).values, highest[:kept])
        assert not (foreground & ~region).any()
        if options["bg_low"] is None:
            assert torch.equal(background, ~region)
        else:
            lowest = cam.flatten().sort().values[: int(options["bg_low"] * cam.numel())]
            assert torch.equal(cam[background].sort().values, lowest)


@pytest.mark.parametrize(("preset", "most"), [("recommended", 100), ("paper", 1), ("authors", 9)])
def test_a_preset_labels_its_number_of_pixels(preset, most):
    drawn = draw_pseudo_labels(smooth_cams(4, 112), torch.arange(4), **sampling(preset))
    labelled = torch.stack([(drawn.labels == label).sum((1, 2)) for label in (0, 1)], 1)
    assert torch.equal(drawn.counts, labelled)
    assert (drawn.counts <= most).all()
    assert (drawn.counts > 0).all()
    assert preset == "authors" or (drawn.counts == most).all()
    assert set(drawn.labels.unique().tolist()) == {0, 1, IGNORE}


@settings(max_examples=40)
@given(st.permutations(range(4)), st.integers(1, 4), st.sampled_from(list(PRESETS)))
def test_a_draw_depends_on_its_own_map_and_seed_alone(order, size, preset):
    cams, seeds = smooth_cams(4, 16), torch.tensor([5, 2**63 - 1, 0, 11])
    chosen = torch.tensor(order[:size])
    whole = draw_pseudo_labels(cams, seeds, **sampling(preset)).labels
    part = draw_pseudo_labels(cams[chosen], seeds[chosen], **sampling(preset)).labels
    assert torch.equal(part, whole[chosen])


def test_another_seed_is_another_draw():
    cams = smooth_cams(1).expand(2, -1, -1)
    same = draw_pseudo_labels(cams, torch.tensor([3, 3]), **sampling("recommended")).labels
    other = draw_pseudo_labels(cams, torch.tensor([3, 4]), **sampling("recommended")).labels
    assert torch.equal(same[0], same[1])
    assert not torch.equal(other[0], other[1])


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("axis", [1, 2])
def test_regions_follow_a_flip_of_map_and_noise(preset, axis):
    options = {name: sampling(preset)[name] for name in ("fg_top", "bg_low")}
    cams = (smooth_cams() * 20).round() / 20  # with ties
    noise = noise_like(cams)
    flipped = seed_regions(cams.flip(axis), noise.flip(axis + 1), **options)
    assert torch.equal(flipped.flip(axis + 1), seed_regions(cams, noise, **options))


def test_a_flat_map_gives_no_label_and_is_flagged():
    cams = torch.stack([torch.zeros(6, 6), smooth_cams(1, 6)[0], torch.full((6, 6), 0.4)])
    drawn = draw_pseudo_labels(cams, torch.arange(3), **sampling("recommended"))
    assert drawn.flat.tolist() == [True, False, True]
    assert drawn.counts[[0, 2]].sum() == 0
    assert (drawn.labels[[0, 2]] == IGNORE).all()
    assert drawn.counts[1].min() > 0


def test_a_region_smaller_than_the_number_of_draws_is_labelled_whole():
    cams = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.9, 1.0]]])
    drawn = draw_pseudo_labels(cams, torch.tensor([0]), **{**ALL, "pixels": 100})
    assert drawn.labels.tolist() == [[[0, 0, 0], [0, 1, 1]]]


@pytest.mark.parametrize("preset", list(PRESETS))
@settings(max_examples=60)
@given(
    levels=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)), seed=st.integers(0, 99)
)
def test_whatever_the_map_labels_lie_in_their_regions_or_there_are_none(preset, levels, seed):
    cams = torch.from_numpy(levels)[None].float() / 255
    options = {**sampling(preset), "dilate": False}
    drawn = draw_pseudo_labels(cams, torch.tensor([seed]), **options)
    foreground, flat = regions(cams)
    assert torch.equal(drawn.flat, flat)
    if flat:
        assert drawn.counts.tolist() == [[0, 0]]
    else:
        # The lowest pixels may reach into C+; one that both classes draw is dropped.
        assert foreground[drawn.labels == 1].all()
        assert drawn.counts.sum() >= 1 or options["bg_low"] is not None
    if options["bg_low"] is None:
        assert not foreground[drawn.labels == 0].any()


@pytest.mark.parametrize("preset", list(PRESETS))
def test_dilation_grows_what_is_drawn_by_one_pixel_and_drops_what_both_claim(preset):
    cams, seeds = smooth_cams(6, 28), torch.arange(6)
    options = {**sampling(preset), "pixels": 3}
    plain = draw_pseudo_labels(cams, seeds, **{**options, "dilate": False}).labels.numpy()
    grown = draw_pseudo_labels(cams, seeds, **{**options, "dilate": True}).labels.numpy()
    square = np.ones((3, 3))
    for before, after in zip(plain, grown, strict=True):
        background, foreground = (binary_dilation(before == label, square) for label in (0, 1))
        assert np.array_equal(after == 1, foreground & ~background)
        assert np.array_equal(after == 0, background & ~foreground)


def test_a_fraction_of_a_tiny_region_is_at_least_one_pixel():
    cams = torch.tensor([[[0.0, 0.1, 0.0], [0.2, 0.9, 1.0]]])
    drawn = draw_pseudo_labels(cams, torch.tensor([0]), **{**ALL, "fg_top": 0.3, "bg_low": 0.0})
    assert drawn.counts.tolist() == [[1, 1]]
    assert drawn.labels[0, 1, 2] == 1


def test_a_dilated_pixel_is_3x3_and_clipped_at_the_border():
    cams = torch.zeros(1, 9, 9)
    cams[0, 0, 0], cams[0, 8, 8] = 1.0, 0.001
    options = {**ALL, "dilate": True}
    labels = draw_pseudo_labels(cams, torch.tensor([1]), **options).labels[0]
    assert (labels == 1).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    y, x = (labels == 0).nonzero().T
    assert y.max() - y.min() <= 2
    assert x.max() - x.min() <= 2
    assert len(y) in (4, 6, 9)


def test_pixels_claimed_by_both_classes_are_dropped():
    cams = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    for seed in range(20):
        drawn = draw_pseudo_labels(cams, torch.tensor([seed]), **{**ALL, "dilate": True})
        plain = draw_pseudo_labels(cams, torch.tensor([seed]), **ALL).labels[0, 0].tolist()
        expected = {
            1: [IGNORE, IGNORE, 0, IGNORE],
            2: [1, IGNORE, 0, 0],
            3: [1, 1, 0, 0],
        }[plain.index(0)]
        assert drawn.labels[0, 0].tolist() == expected
        assert drawn.counts[0].tolist() == [expected.count(0), expected.count(1)]


def test_maps_in_half_precision_draw_as_their_float_values_do():
    cams, seeds = smooth_cams().half(), torch.arange(3)
    for preset in PRESETS:
        half = draw_pseudo_labels(cams, seeds, **sampling(preset)).labels
        assert torch.equal(half, draw_pseudo_labels(cams.float(), seeds, **sampling(preset)).labels)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_draw_never_waits_for_its_device(preset):
    # A meta tensor has no values: whatever needs one on the host fails.
    drawn = draw_pseudo_labels(smooth_cams().to("meta"), torch.arange(3), **sampling(preset))
    assert {one.device.type for one in drawn} == {"meta"}


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7)))
def test_regions_are_those_that_labels_and_their_properties_give(above):
    masks = torch.from_numpy(above)
    got = {kind: foreground_region(masks, kind).numpy() for kind in REGIONS}
    assert np.array_equal(got["blob"], above)
    for place, mask in enumerate(above):
        found = regionprops(label(mask, connectivity=1))
        # Labels go in raster order, and the first of equals is taken.
        best = max(found, key=lambda one: one.area, default=None)
        largest, box = np.zeros_like(mask), np.zeros_like(mask)
        if best is not None:
            largest[tuple(best.coords.T)] = True
            y0, x0, y1, x1 = best.bbox
            box[y0:y1, x0:x1] = True
        assert np.array_equal(got["largest"][place], largest)
        assert np.array_equal(got["box"][place], box)


TWO_BLOBS = """
    9 9 . . . .
    9 . 1 . . 8
    9 9 . . . 8
    . . . . . ."""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("blob", "1 1 0 0 0 0 / 1 0 0 0 0 1 / 1 1 0 0 0 1 / 0 0 0 0 0 0"),
        ("largest", "1 1 0 0 0 0 / 1 0 0 0 0 . / 1 1 0 0 0 . / 0 0 0 0 0 0"),
        ("box", "1 1 0 0 0 0 / 1 1 0 0 0 . / 1 1 0 0 0 . / 0 0 0 0 0 0"),
    ],
)
def test_another_blob_than_the_largest_is_neither_object_nor_background(kind, expected):
    rows = [line.replace(".", "0").split() for line in TWO_BLOBS.split("\n")[1:]]
    cams = torch.tensor([[[int(value) / 9 for value in row] for row in rows]])
    areas = seed_regions(cams, noise_like(cams), fg_top=1.0, bg_low=None, fg_region=kind)[0]
    codes = [line.split() for line in expected.split(" / ")]
    assert areas[1].tolist() == [[code == "1" for code in row] for row in codes]
    assert areas[0].tolist() == [[code == "0" for code in row] for row in codes]


def test_of_a_box_the_top_share_of_its_pixels_may_be_drawn_by_activation():
    cams = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [0.9, 0.0, 0.3, 0.0], [0.8, 1.0, 0.7, 0.0]]])
    given = {"fg_top": 0.7, "bg_low": 0.3, "fg_region": "box"}
    areas = seed_regions(cams, noise_like(cams), **given)[0]
    # Six pixels lie in the box, of which four may be drawn: 1.0, 0.9, 0.8 and 0.7.
    assert areas[1].nonzero().tolist() == [[1, 0], [2, 0], [2, 1], [2, 2]]
    assert areas[0].sum() == 3 and cams[0][areas[0]].max() == 0
    drawn = draw_pseudo_labels(cams, torch.tensor([0]), pixels=1000, dilate=False, **given)
    assert drawn.counts.tolist() == [[3, 4]]


@pytest.mark.parametrize("kind", REGIONS)
def test_a_flat_map_has_no_region_of_any_kind(kind):
    drawn = draw_pseudo_labels(torch.full((2, 5, 5), 0.4), torch.arange(2), **ALL, fg_region=kind)
    assert drawn.flat.all() and (drawn.labels == IGNORE).all()
