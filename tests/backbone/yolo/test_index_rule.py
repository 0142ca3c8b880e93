import pytest

from models.backbone.yolo.index_rule import fill_indices, index_count


@pytest.mark.parametrize(
    ("maps", "indices"),
    [
        ([], [None] * 5),
        ([32], [None, None, None, None, 32]),
        ([8, 16, 32], [None, None, 8, 16, 32]),
        ([2, 4, 8, 16, 32], [2, 4, 8, 16, 32]),
        ([2, 4, 8, 16, 32, 64], [2, 4, 8, 16, 32, 64]),
    ],
    ids=lambda value: f"{len(value)}",
)
def test_maps_fill_the_last_of_at_least_five_indices(maps, indices):
    assert fill_indices(maps) == indices
    assert index_count(len(maps)) == len(indices)
