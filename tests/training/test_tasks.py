import pytest
import torch
from torch import nn
from torch._dynamo.exc import BackendCompilerFailed
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from tcam_cache.config import ClassifierConfig, train_config
from tcam_cache.devices import as_images
from tcam_cache.errors import ConfigError
from tcam_cache.models import Classifier, Decoder
from tcam_cache.training import ClassifierTask, DecoderTask, tasks
from tcam_cache.training.loop import step_generator
from tcam_cache.training.losses import barrier_t
from tcam_cache.training.samples import Sample
from tcam_cache.training.tasks import without_channels

CPU = torch.device("cpu")
SIZE = 32


class TinyEncoder(nn.Module):
    """A classifier in small: two stages with batch norm, pooling, one linear layer."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.stages = nn.ModuleList([self.stage(3, 4), self.stage(4, 8)])
        self.head = nn.Linear(8, 3)

    @staticmethod
    def stage(inside, outside):
        return nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.BatchNorm2d(outside), nn.ReLU()
        )

    def features(self, images):
        outputs = [images]
        for stage in self.stages:
            outputs.append(stage(outputs[-1]))
        return outputs[1:]

    def halves(self):
        return tuple(list(stage.parameters()) for stage in self.stages)

    def forward(self, images):
        return self.head(self.features(images)[-1].mean((2, 3)))


def batch_of(count=4, seed=0):
    """Frames of noise with a bright square where the CAM is high."""
    generator = torch.Generator().manual_seed(seed)
    rgb = torch.randint(60, 120, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    cam = 0.2 * torch.rand(count, SIZE, SIZE, generator=generator)
    rgb[:, 0, 8:24, 10:22] = 220
    cam[:, 8:24, 10:22] = 0.8 + 0.2 * torch.rand(count, 16, 12, generator=generator)
    seeds = torch.arange(count) + 100 * seed
    return Sample(rgb, cam, torch.arange(count) % 3, seeds, clip=seeds)


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, module):
    after = module.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def train(task, steps, batch=None, epoch=0):
    """Take steps of SGD as the fitting loop does, and return the sum of the terms in each."""
    optimiser = torch.optim.SGD(task.parameter_groups(), lr=0.02, momentum=0.9, weight_decay=1e-2)
    task.start_epoch(epoch)
    sums = []
    for step in range(steps):
        terms = task.losses(batch or batch_of(), step_generator(0, epoch, step))
        total = sum(terms.values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        sums.append(total.item())
    return sums


def classifier_task(model, **given):
    return ClassifierTask(model, ClassifierConfig(manifest="m", out="g.pt", fit="sgd", **given), CPU)


def test_a_frozen_backbone_keeps_every_tensor_statistics_of_batch_norm_too():
    torch.manual_seed(0)
    model = Classifier("resnet18", ("a", "b", "c"))
    task = classifier_task(model, freeze_backbone=True)
    before = state_of(model)
    assert any("running_mean" in name for name in before)
    train(task, 3)
    model.eval()  # as a validation leaves it
    train(task, 1, epoch=1)
    assert changed(before, model) == {"head.weight", "head.bias"}


def test_a_backbone_that_is_fitted_changes_with_its_statistics_in_every_epoch():
    model = TinyEncoder()
    task = classifier_task(model)
    for epoch in range(2):
        before = state_of(model)
        train(task, 2, epoch=epoch)
        assert changed(before, model) == set(before)
        model.eval()


@pytest.mark.parametrize("frozen", [False, True])
def test_every_fitted_parameter_is_in_one_group(frozen):
    model = TinyEncoder()
    task = classifier_task(model, freeze_backbone=frozen)
    listed = [id(p) for group in task.parameter_groups() for p in group["params"]]
    assert len(set(listed)) == len(listed)
    assert set(listed) == {id(p) for p in model.parameters() if p.requires_grad}


def test_the_last_stage_and_the_head_learn_ten_times_as_fast():
    model = TinyEncoder()
    early, late = classifier_task(model).parameter_groups()
    assert (early["scale"], late["scale"]) == (1.0, 10.0)
    assert {id(p) for p in early["params"]} == {id(p) for p in model.stages[0].parameters()}
    fast = [*model.stages[1].parameters(), *model.head.parameters()]
    assert {id(p) for p in late["params"]} == {id(p) for p in fast}


def test_freezing_can_be_undone_by_a_later_fit():
    model = TinyEncoder()
    classifier_task(model, freeze_backbone=True)
    classifier_task(model)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("loss", ["cross-entropy", "one-vs-rest"])
def test_the_loss_is_that_of_the_tags(loss):
    model, batch = TinyEncoder(), batch_of()
    task = classifier_task(model, loss=loss)
    task.start_epoch(0)
    (term,) = task.losses(batch, torch.Generator()).values()
    logits = model(as_images(batch.rgb, CPU))
    present = torch.eye(3)[batch.tag]
    expected = {
        "cross-entropy": lambda: cross_entropy(logits, batch.tag),
        "one-vs-rest": lambda: binary_cross_entropy_with_logits(logits, present),
    }[loss]()
    torch.testing.assert_close(term, expected)


def test_a_toy_classifier_learns_its_tags():
    model = TinyEncoder()
    batch = batch_of(6)
    batch.rgb[:] = (40 * batch.tag[:, None, None, None] + 60).to(torch.uint8)
    sums = train(classifier_task(model), 40, batch)
    assert sums[-1] < 0.3 * sums[0]
    assert torch.equal(model(as_images(batch.rgb, CPU)).argmax(1), batch.tag)


def decoder_task(encoder=None, decoder=None, **given):
    torch.manual_seed(0)
    method = {"preset": "paper", "fg_top": 0.1, "cross_entropy": "batch-mean", "pixels": 10, "landmarks": 16}
    settings = {**method, "manifest": "m", "cache": "c", "out": "o", **given}
    encoder, decoder = encoder or TinyEncoder(), decoder or Decoder((4, 8), width=0.5)
    return DecoderTask(encoder, decoder, train_config(**settings), CPU)


def test_training_the_decoder_leaves_the_encoder_as_it_was():
    encoder = TinyEncoder().train()
    task = decoder_task(encoder)
    before, decoder_before = state_of(encoder), state_of(task.decoder)
    train(task, 3)
    assert changed(before, encoder) == set()
    assert all(p.grad is None for p in encoder.parameters())
    assert changed(decoder_before, task.decoder) == set(decoder_before)
    assert task.model() is task.decoder


@pytest.mark.parametrize("given", [{}, {"strides": (1, 2)}])
def test_the_encoder_runs_in_inference_mode_and_the_decoder_gets_the_gradients_it_would_get_anyway(given):
    modes = []

    class Watched(TinyEncoder):
        def features(self, images):
            modes.append(torch.is_inference_mode_enabled())
            return super().features(images)

    task, images = (
        decoder_task(Watched(), Decoder((4, 8), width=0.5, **given)),
        as_images(batch_of().rgb, CPU),
    )
    weights = list(task.decoder.parameters())
    fast = torch.autograd.grad(task.logits(images).square().mean(), weights)
    plain = torch.autograd.grad(task.decoder(task.encoder.features(images), images).square().mean(), weights)
    assert modes == [True, False]
    assert all(torch.equal(one, other) for one, other in zip(fast, plain, strict=True))


def test_every_parameter_of_the_decoder_is_fitted_and_nothing_else():
    task = decoder_task()
    (group,) = task.parameter_groups()
    assert group["scale"] == 1.0
    assert {id(p) for p in group["params"]} == {id(p) for p in task.decoder.parameters()}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, {"cross_entropy", "crf", "size"}),
        ({"crf_weight": 0}, {"cross_entropy", "size"}),
        ({"asc_weight": 0, "preset": "paper"}, {"cross_entropy", "crf"}),
        ({"crf": False}, {"cross_entropy", "size"}),
        ({"asc": False}, {"cross_entropy", "crf"}),
        ({"crf": False, "asc": False, "preset": "authors"}, {"cross_entropy"}),
        (
            {"colour_crf_weight": 2e-9, "frames_together": 2, "asc": False},
            {"cross_entropy", "crf", "colour_crf"},
        ),
        ({"preset": "colocam", "colour_warmup": 0.0}, {"cross_entropy", "crf", "colour_crf", "size"}),
    ],
)
def test_every_term_with_a_weight_is_there_finite_and_has_a_gradient(given, names):
    task = decoder_task(**given)
    task.start_epoch(0)
    batch = batch_of()
    terms = task.losses(batch._replace(clip=batch.clip // 2), step_generator(0, 0, 0))
    assert set(terms) == names
    for term in terms.values():
        assert term.shape == ()
        assert torch.isfinite(term)
        gradients = torch.autograd.grad(term, task.decoder.head.weight, retain_graph=True)
        assert gradients[0].abs().sum() > 0


def test_the_sum_falls_on_a_toy_and_the_square_is_found():
    task, batch = decoder_task(), batch_of()
    sums = train(task, 80, batch)
    assert sum(sums[-5:]) < 0.6 * sum(sums[:5])
    task.decoder.eval()
    with torch.no_grad():
        foreground = task.logits(as_images(batch.rgb, CPU)).argmax(1)
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[8:24, 10:22] = True
    assert foreground[:, inside].float().mean() > 0.9
    assert foreground[:, ~inside].float().mean() < 0.2


def test_flat_cams_are_counted_anew_in_every_epoch():
    task, batch = decoder_task(), batch_of()
    batch.cam[1:3] = 0.5
    for steps in (2, 1):
        train(task, steps, batch)
        assert task.counts == {"flat_frames": 2 * steps}


def test_a_batch_of_flat_cams_alone_still_has_a_finite_loss_and_no_label():
    task, batch = decoder_task(), batch_of()
    batch.cam.zero_()
    task.start_epoch(0)
    terms = task.losses(batch, step_generator(0, 0, 0))
    assert terms["cross_entropy"] == 0
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in task.decoder.parameters())
    assert task.counts == {"flat_frames": 4}


def test_the_barrier_sharpens_from_epoch_to_epoch_up_to_its_cap():
    task = decoder_task(barrier_t=2.0, barrier_growth=1.5, barrier_cap=4.0)
    said = [task.start_epoch(epoch) for epoch in range(4)]
    assert said == [{"barrier_t": t} for t in (2.0, 3.0, 4.0, 4.0)]
    task = decoder_task()
    assert task.start_epoch(10)["barrier_t"] == pytest.approx(1.01**10) == barrier_t(10, 1.0, 1.01, 10.0)


def test_without_a_size_term_the_log_says_nothing_of_its_barrier():
    assert decoder_task(asc=False).start_epoch(3) == {}


def test_the_size_term_uses_the_barrier_of_its_epoch():
    task = decoder_task(barrier_growth=2.0)
    values = []
    for epoch in (0, 2):
        task.start_epoch(epoch)
        values.append(task.losses(batch_of(), step_generator(0, 0, 0))["size"].item())
    # Far inside the constraint psi_t is -log(size) / t, and t went from 1 to 4.
    assert values[0] == pytest.approx(4 * values[1], rel=1e-3)


def test_a_step_repeats_bit_by_bit_and_another_generator_moves_the_crf_alone():
    task = decoder_task()
    task.start_epoch(0)

    def terms(step):
        return task.losses(batch_of(), step_generator(0, 0, step))

    first, again, other = terms(0), terms(0), terms(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert [name for name in first if not torch.equal(first[name], other[name])] == ["crf"]


def test_the_losses_of_a_validation_change_nothing_and_can_be_compared_between_epochs():
    task, batch = decoder_task(barrier_growth=2.0), batch_of()
    batch.cam[1] = 0.5
    train(task, 2, batch)
    task.counts["flat_frames"].zero_()
    before = state_of(task.decoder)
    values = []
    for epoch in (0, 3):
        task.start_epoch(epoch)
        values.append(task.validation_losses(batch, step_generator(0, 0, 0)))
        assert not task.decoder.training
    assert values[0] == values[1]
    assert changed(before, task.decoder) == set()
    assert task.counts == {"flat_frames": 0}
    assert not any(value.requires_grad for value in values[0].values())


def test_another_seed_of_a_sample_draws_other_labels():
    task, batch = decoder_task(), batch_of()
    task.start_epoch(0)
    other = batch._replace(seed=batch.seed + 1)
    terms = [task.losses(one, step_generator(0, 0, 0))["cross_entropy"] for one in (batch, other)]
    assert terms[0] != terms[1]


def terms_of(task):
    task.start_epoch(0)
    return task.losses(batch_of(), step_generator(0, 0, 0))


def test_in_bf16_the_networks_compute_coarsely_and_the_loss_as_exactly_as_ever(monkeypatch):
    exact = terms_of(decoder_task(amp="none"))
    seen = []
    inner = tasks.tcam_terms

    def spy(logits, *rest):
        seen.append((logits, torch.is_autocast_enabled("cpu")))
        return inner(logits, *rest)

    monkeypatch.setattr(tasks, "tcam_terms", spy)
    task = decoder_task(amp="bf16")
    coarse = terms_of(task)
    ((logits, under_autocast),) = seen
    assert logits.dtype == torch.float32 and not under_autocast
    assert torch.equal(logits, logits.bfloat16().float())
    for name, term in coarse.items():
        assert term.dtype == torch.float32
        assert term.item() == pytest.approx(exact[name].item(), rel=0.02) and term != exact[name]
    sum(coarse.values()).backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in task.decoder.parameters())


def test_without_a_word_the_cpu_computes_in_full_precision():
    assert {name: term.item() for name, term in terms_of(decoder_task()).items()} == {
        name: term.item() for name, term in terms_of(decoder_task(amp="none")).items()
    }


def test_encoder_and_decoder_are_compiled_when_that_is_asked_for(monkeypatch):
    plain = terms_of(decoder_task())
    compiled, called = [], []

    def compile(function):
        compiled.append(function)
        return lambda *given: called.append(function) or function(*given)

    monkeypatch.setattr(torch, "compile", compile)
    decoder_task()
    assert compiled == []
    task = decoder_task(compile=True)
    terms = terms_of(task)
    assert compiled == called == [task.encoder.features, task.decoder]
    assert terms == plain
    assert task.model() is task.decoder


def test_networks_that_cannot_be_compiled_end_in_a_named_error(monkeypatch):
    def compile(function):
        def fail(*_given):
            raise BackendCompilerFailed("inductor", RuntimeError("no compiler"), None)

        return fail

    monkeypatch.setattr(torch, "compile", compile)
    with pytest.raises(ConfigError, match=r"no compiler.*Leave --compile out"):
        terms_of(decoder_task(compile=True))


def test_hidden_channels_depend_on_the_frame_s_seed_alone_and_the_mean_stays():
    stages = [torch.ones(2, 400, 3, 3), torch.ones(2, 600, 1, 1)]
    seeds = torch.tensor([5, 9])
    both = without_channels(stages, 0.25, seeds)
    alone = without_channels([stage[1:] for stage in stages], 0.25, seeds[1:])
    for found, one in zip(both, alone, strict=True):
        assert torch.equal(found[1:], one)
        assert not torch.equal(found[0], found[1])
        assert torch.equal(found.amin((2, 3)), found.amax((2, 3)))
        assert found.mean().item() == pytest.approx(1, abs=0.05)
        assert sorted(set(found.flatten().tolist())) == pytest.approx([0, 4 / 3])


def test_channels_are_hidden_in_training_and_never_in_validation():
    batch, generator = batch_of(), torch.Generator()
    task = decoder_task(dropout=0.5, crf=False)
    plain = decoder_task(crf=False)
    hidden, seen = (one.validation_losses(batch, generator)["cross_entropy"] for one in (task, plain))
    assert torch.equal(hidden, seen)
    task.start_epoch(0)
    plain.start_epoch(0)
    hidden, seen = (one.losses(batch, generator)["cross_entropy"].item() for one in (task, plain))
    assert hidden != seen


def test_losses_of_smaller_maps_are_taken_on_maps_of_that_size():
    seen = []
    decoder = Decoder((4, 8), map_stride=2)
    decoder.register_forward_hook(lambda _module, _taken, given: seen.append(given.shape))
    task = decoder_task(decoder=decoder, decoder_stride=2)
    terms = task.losses(batch_of(count=2), torch.Generator())
    assert seen == [(2, 2, SIZE // 2, SIZE // 2)]
    assert all(torch.isfinite(term) for term in terms.values())


def test_the_colour_term_warms_up_as_the_fit_goes_and_is_validated_warm():
    task = decoder_task(preset="colocam", colour_crf_weight=8.0, colour_warmup=0.5)
    task.start_epoch(0)
    batch = batch_of()._replace(clip=torch.tensor([0, 0, 1, 1]))
    losses = [
        task.losses(batch, step_generator(0, 0, 0), done)["colour_crf"].item() for done in (0, 0.25, 0.5, 0.9)
    ]
    assert losses == [0.0, -4.0, -8.0, -8.0]
    assert task.validation_losses(batch, step_generator(0, 0, 0))["colour_crf"].item() == -8.0
