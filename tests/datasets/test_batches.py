from hypothesis import given
from hypothesis import strategies as st

from tcam_cache.datasets.batches import ShotBatches
from tcam_cache.records import Shot


def shot_of(number, length):
    name = f"bird/{number}"
    return Shot(name, "bird", name, "train", name, tuple(f"{t}.jpg" for t in range(length)))


@given(st.lists(st.integers(1, 40), max_size=8), st.integers(1, 12))
def test_batches_hold_every_frame_once_in_order_of_one_shot_each_as_even_as_can_be(lengths, batch_size):
    shots = [shot_of(*pair) for pair in enumerate(lengths)]
    batches = ShotBatches(shots, batch_size)
    made = [batches[index] for index in range(len(batches))]
    assert [frame for batch in made for frame in batch] == [
        (shot, t) for shot in shots for t in range(len(shot))
    ]
    for shot in shots:
        sizes = [len(batch) for batch in made if batch[0][0] is shot]
        assert all({one.id for one, _ in batch} == {batch[0][0].id} for batch in made)
        assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
        assert len(sizes) == -(-len(shot) // batch_size)


def test_the_end_is_the_end():
    batches = ShotBatches([shot_of(0, 3)], 2)
    assert list(batches) == [batches[0], batches[1]]
    assert batches[-1] == batches[1] and len(ShotBatches([], 2)) == 0
