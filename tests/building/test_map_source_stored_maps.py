from tcam_cache.building.map_source import map_settings, warn_of_flat_maps


def test_the_settings_of_maps_are_those_of_every_cache_made_so_far():
    assert map_settings((28, 20)) == {
        "size": [28, 20],
        "scaling": "minimum and maximum of the frame",
        "dtype": "float16",
    }


def test_flat_maps_are_counted_aloud_and_none_is_not_worth_a_word(caplog):
    warn_of_flat_maps(0, 9)
    assert not caplog.records
    warn_of_flat_maps(2, 9)
    assert caplog.messages == ["2 of 9 new maps are flat: they say nothing of where the object is"]
