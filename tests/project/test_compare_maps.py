"""The comparison behind the other tests fails on whatever is wrong with a list of maps."""

import pytest
import torch

from tests.compare_maps import assert_same, largest_error

NAN, INFINITY = float("nan"), float("inf")


def maps():
    return [torch.tensor([[[1.0, -4.0]]]), torch.tensor([[[2.0], [0.5]]]), torch.tensor([[[8.0]]])]


def with_value(value, number=1):
    changed = maps()
    changed[number][0, 0, 0] = value
    return changed


def with_map(new, number=1):
    return [*maps()[:number], new, *maps()[number + 1 :]]


@pytest.fixture(params=[largest_error, assert_same], ids=lambda function: function.__name__)
def compare(request):
    return request.param


WRONG = {
    "NaN in the second map": (with_value(NAN), maps(), "map 1: the found values are not all finite"),
    "NaN in the second expected map": (maps(), with_value(NAN), "map 1: the expected values are not all finite"),
    "NaN in both": (with_value(NAN), with_value(NAN), "map 1: the found values are not all finite"),
    "NaN in the first map": (with_value(NAN, 0), maps(), "map 0: the found values are not all finite"),
    "infinity": (with_value(INFINITY, 2), maps(), "map 2: the found values are not all finite"),
    "infinity in both": (with_value(INFINITY), with_value(INFINITY), "map 1: the found values are not all finite"),
    "one map dropped": (maps()[:2], maps(), r"2 maps found, 3 expected; missing: \['2'\], unexpected: none"),
    "one map more": (maps(), maps()[:2], r"3 maps found, 2 expected; missing: none, unexpected: \['2'\]"),
    "none found": ([], maps(), "0 maps found, 3 expected"),
    "none expected": (maps(), [], "there are no expected maps"),
    "none at all": ([], [], "there are no expected maps"),
    "a tensor for a list": (maps()[0], maps(), "1 maps found, 3 expected"),
    "a shape that broadcasts": (
        with_map(torch.ones(1, 1, 1)),
        with_map(torch.ones(1, 2, 1)),
        r"map 1: shape torch.Size\(\[1, 1, 1\]\), expected torch.Size\(\[1, 2, 1\]\)",
    ),
    "a dimension less": (maps()[0][0], maps()[0], r"map 0: shape torch.Size\(\[1, 2\]\), expected torch.Size"),
    "another dtype": (with_map(maps()[1].half()), maps(), "map 1: dtype torch.float16, expected torch.float32"),
    "an empty map": (with_map(torch.ones(1, 0)), with_map(torch.ones(1, 0)), r"map 1: it is empty, .* \(1, 0\)"),
    "another name": ({"a": maps()[0]}, {"b": maps()[0]}, r"missing: \['b'\], unexpected: \['a'\]"),
}


@pytest.mark.parametrize(("found", "expected", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_compared_is_named(compare, found, expected, message):
    with pytest.raises(AssertionError, match=message):
        compare(found, expected)


def test_the_error_is_relative_to_the_largest_value_of_its_map():
    found = [maps()[0] + 0.5, maps()[1] - 0.5, maps()[2] + 1]
    assert largest_error(found, maps()) == 0.5 / 2
    assert largest_error(found[:1], maps()[:1]) == 0.5 / 4  # the largest value is a negative one
    assert largest_error(found, maps(), scale=1) == 1


def test_every_map_counts():
    for number in range(3):
        assert largest_error(with_value(100.0, number), maps()) > 1
        with pytest.raises(AssertionError, match=f"map {number}: 1 of"):
            assert_same(with_value(100.0, number), maps())


def test_an_expected_map_of_zeros_gives_no_relative_error():
    zeros = with_map(torch.zeros(1, 2, 1))
    with pytest.raises(AssertionError, match="map 1: all expected values are zero"):
        largest_error(zeros, zeros)
    assert largest_error(maps(), zeros, scale=1) == 2
    assert_same(zeros, zeros)


def test_one_bit_is_a_difference():
    found = with_value(2 * (1 + 2**-23))
    assert largest_error(found, maps()) == 2**-23
    with pytest.raises(AssertionError, match="map 1: 1 of 2 values differ"):
        assert_same(found, maps())


@pytest.mark.parametrize(
    "wrap",
    [
        list,
        tuple,
        iter,
        lambda maps: maps[0],
        lambda maps: dict(zip("abc", maps)),
        lambda maps: [one.numpy() for one in maps],
        lambda maps: maps[0].numpy(),
        lambda maps: [one.requires_grad_() for one in maps],
        lambda maps: [one.to(torch.int64) for one in maps],
    ],
    ids=["list", "tuple", "iterator", "tensor", "dict", "NumPy", "array", "with gradient", "integers"],
)
def test_forms(wrap):
    assert largest_error(wrap(maps()), wrap(maps())) == 0
    assert_same(wrap(maps()), wrap(maps()))


def test_half_precision_does_not_overflow():
    found, expected = torch.tensor([60000.0]).half(), torch.tensor([-60000.0]).half()
    assert largest_error(found, expected) == 2
