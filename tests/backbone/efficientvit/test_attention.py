"""Windows, and attention in them against the definition written out."""

import pytest
import torch

from models.backbone.efficientvit.attention import KEY_DIM, CascadedGroupAttention, bias_of_pairs, window_matrices
from models.backbone.efficientvit.windows import (
    as_planes,
    as_tokens,
    as_windows,
    from_planes,
    merge_windows,
    pad_to_windows,
    partition_windows,
)


@pytest.mark.parametrize(
    ("size", "padded"),
    [((7, 7), (7, 7)), ((14, 21), (14, 21)), ((1, 1), (7, 7)), ((4, 20), (7, 21)), ((8, 7), (14, 7))],
)
def test_padding_is_zero_at_the_bottom_and_right(size, padded):
    x = torch.rand(2, 3, *size) + 1
    result = pad_to_windows(x)
    assert result.shape[2:] == padded
    assert torch.equal(result[:, :, : size[0], : size[1]], x)
    assert result.sum() == pytest.approx(x.sum())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(1, 2, 7, 7), (2, 5, 14, 21), (3, 1, 7, 35)])
def test_windows_round_trip(shape, layout):
    x = torch.rand(shape).contiguous(memory_format=layout)
    tokens = partition_windows(x)
    assert tokens.shape == (shape[0] * shape[2] * shape[3] // 49, 49, shape[1])
    assert tokens.is_contiguous() or layout == torch.contiguous_format
    assert torch.equal(merge_windows(tokens, shape, *shape[2:]), x)
    assert torch.equal(merge_windows(tokens, shape, 5, 6), x[:, :, :5, :6])


@pytest.mark.parametrize("shape", [(1, 2, 7, 7), (2, 5, 14, 21), (3, 1, 7, 35)])
def test_planes_hold_the_same_windows_as_tokens(shape):
    x = torch.rand(shape)
    planes = as_planes(x)
    assert planes.shape == (*shape[:2], shape[2] * shape[3] // 49, 49)
    tokens = planes.permute(0, 2, 3, 1).flatten(0, 1)
    assert torch.equal(tokens, partition_windows(x))
    assert torch.equal(from_planes(planes, shape), x)


def test_windows_are_cut_row_by_row():
    x = torch.arange(14 * 21.0).view(1, 1, 14, 21)
    windows = as_windows(partition_windows(x))
    assert torch.equal(windows[1, 0], x[0, 0, :7, 7:14])
    assert torch.equal(windows[3, 0], x[0, 0, 7:, :7])


def test_windows_and_tokens_are_views_of_each_other():
    tokens = torch.rand(3, 49, 5)
    windows = as_windows(tokens)
    assert windows.is_contiguous(memory_format=torch.channels_last)
    assert as_tokens(windows).data_ptr() == windows.data_ptr() == tokens.data_ptr()
    assert torch.equal(as_tokens(windows), tokens)


def biases_one_by_one(table):
    """For each pair of tokens, the entry of the table for how many rows and columns lie between the two."""
    places = [(row, column) for row in range(7) for column in range(7)]
    return torch.stack(
        [torch.stack([table[:, 7 * abs(y - v) + abs(x - u)] for v, u in places], 1) for y, x in places], 1
    )


def test_biases_of_pairs():
    table = torch.rand(3, 49)
    assert torch.equal(bias_of_pairs(table), biases_one_by_one(table))


def reference(module, x):
    """Cascaded group attention of one window `(1, C, 7, 7)`, token by token, from the paper's equations 1 to 3."""
    biases = biases_one_by_one(module.bias)
    previous, outputs = 0, []
    for head, part in enumerate(x.chunk(len(module.qkv), 1)):
        q, k, v = module.qkv[head](part + previous).split([KEY_DIM, KEY_DIM, part.shape[1]], 1)
        q = module.query_depthwise[head](q)
        q, k, v = q.flatten(2)[0], k.flatten(2)[0], v.flatten(2)[0]
        columns = []
        for token in range(49):
            logits = torch.stack([q[:, token] @ k[:, other] for other in range(49)]) * KEY_DIM**-0.5
            columns.append(v @ (logits + biases[head, token]).softmax(0))
        previous = torch.stack(columns, 1).view(1, -1, 7, 7)
        outputs.append(previous)
    return x + module.project(torch.cat(outputs, 1).relu())


@pytest.fixture
def attention():
    torch.manual_seed(0)
    module = CascadedGroupAttention(48, (5, 3, 7)).double().eval()
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):  # zeros, and the fused form moves each elsewhere
            torch.nn.init.normal_(parameter)
    torch.nn.init.ones_(module.project.bn.weight)
    return module


@pytest.mark.parametrize("fused", [False, True], ids=["unfused", "fused"])
def test_attention_is_what_the_paper_defines(attention, fused):
    x = torch.randn(1, 48, 7, 7, dtype=torch.float64)
    with torch.no_grad():
        expected = reference(attention, x)
        if fused:
            attention.fuse()
        torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12)


def test_padding_is_attended_to_and_cut_off(attention):
    x = torch.randn(1, 48, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        expected = reference(attention, pad_to_windows(x))[:, :, :4, :6]
        torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12)


def test_windows_do_not_see_each_other(attention):
    x = torch.randn(1, 48, 7, 14, dtype=torch.float64)
    with torch.no_grad():
        both = attention(x)
        torch.testing.assert_close(both[..., :7], attention(x[..., :7]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_window_matrices_convolve(kernel):
    weight, windows = torch.randn(2, 1, kernel, kernel), torch.randn(4, 2, 7, 7)
    expected = torch.nn.functional.conv2d(windows, weight, padding=kernel // 2, groups=2)
    found = torch.einsum("nct,cts->ncs", windows.flatten(2), window_matrices(weight)).view_as(windows)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TorchScript is on its way out; YOLOv5 exports by it all the same
@pytest.mark.parametrize("size", [(9, 12), (14, 7), (3, 30)])
def test_a_trace_of_the_fused_network_serves_every_size(attention, size):
    attention.fuse()
    with torch.no_grad():
        traced = torch.jit.trace(attention, torch.randn(1, 48, 9, 12, dtype=torch.float64))
        x = torch.randn(2, 48, *size, dtype=torch.float64)
        torch.testing.assert_close(traced(x), attention(x), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_trace_of_the_fused_network_is_what_other_runtimes_take(attention):
    """Four dimensions at most, for NCNN and Paddle; no split of a constant, for OpenCV; no product with a sum in it."""
    attention.fuse()
    graph = torch.jit.trace(attention, torch.randn(2, 48, 9, 12, dtype=torch.float64)).inlined_graph
    kinds = set()
    from_image = {value.debugName() for value in list(graph.inputs())[1:]}
    for node in graph.nodes():
        tensors = [value for value in node.outputs() if value.type().kind() == "TensorType"]
        assert all(value.type().dim() is None or value.type().dim() <= 4 for value in tensors), node
        if from_image & {value.debugName() for value in node.inputs()}:
            from_image |= {value.debugName() for value in node.outputs()}
        elif any(value.type().kind() in ("TensorType", "ListType") for value in node.inputs()):
            assert node.kind() == "prim::ListConstruct", node  # sizes; no tensor that could have been prepared
        kinds.add(node.kind())
    assert {"aten::matmul", "aten::softmax"} <= kinds
    assert not kinds & {"aten::baddbmm", "aten::addmm", "aten::bmm"}
