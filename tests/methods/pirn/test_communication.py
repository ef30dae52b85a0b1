"""Communication between modalities: edges, graph attention, purification, a gate, and whose prototypes are asked."""

import numpy as np
import pytest
import torch
from torch import nn

from mmadlib.methods.pirn.communication import Communication, GatedCrossAttention, GraphAttention, cross_edges

B, N, K, D = 2, 12, 4, 16


@pytest.fixture
def image():
    torch.manual_seed(0)
    return torch.randn(2, B, N, D), torch.randn(2, B, N, D), torch.randn(2, B, K, D)


def test_edges_are_symmetric_cross_modal_neighbours(image):
    P = image[2]
    edges = cross_edges(P, 1)
    assert (edges == edges.transpose(1, 2)).all()
    own = torch.eye(K, dtype=torch.bool).expand(B, K, K)
    assert (edges[:, :K, :K] == own).all() and (edges[:, K:, K:] == own).all(), "within a modality only self-loops"
    similarity = torch.cosine_similarity(P[0][:, :, None], P[1][:, None], dim=-1)
    for b in range(B):
        for i in range(K):
            assert edges[b, i, K + similarity[b, i].argmax()] and edges[b, similarity[b, :, i].argmax(), K + i]
    assert edges[:, :K, K:].sum() <= 2 * B * K
    assert (cross_edges(P, 0) == torch.eye(2 * K, dtype=torch.bool)).all()
    assert cross_edges(P, 99)[:, :K, K:].all(), "more neighbours than there are: all of them"


def test_graph_attention_with_zero_weights_is_the_identity(image):
    graph = GraphAttention(D, 4, 3)
    nn.init.zeros_(graph.project.weight)
    torch.testing.assert_close(graph(image[2]), image[2])


def test_without_cross_edges_prototypes_stay_apart(image):
    P = image[2]
    other = torch.stack([P[0], P[1] + 1])
    for k, same in ((0, True), (3, False)):
        graph = GraphAttention(D, 4, k)
        assert torch.equal(graph(P)[0], graph(other)[0]) == same


def test_graph_attention_by_definition(image):
    P, graph = image[2], GraphAttention(D, 4, 2)
    H, edges = torch.cat([P[0], P[1]], 1)[1], cross_edges(P, 2)[1]
    W, out = (H @ graph.project.weight.T).reshape(2 * K, 4, 4), torch.zeros(2 * K, 4, 4)
    for i in range(2 * K):
        for head in range(4):
            j = edges[i].nonzero().ravel()
            e = nn.functional.leaky_relu(W[i, head] @ graph.ends[0, head] + W[j, head] @ graph.ends[1, head], 0.2)
            out[i, head] = e.softmax(0) @ W[j, head]
    torch.testing.assert_close(torch.cat(list(graph(P)[:, 1])), H + out.flatten(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_the_gate_starts_where_it_is_told_and_can_be_frozen(image, gamma):
    Z, _, P = image
    cross = GatedCrossAttention(D, 8, gamma)
    told = cross.attention(Z[0], P[1], P[1])[0]
    torch.testing.assert_close(cross(Z[0], P[1]), np.tanh(gamma) * told)
    assert cross.gamma.requires_grad and not GatedCrossAttention(D, 8, gamma, frozen=True).gamma.requires_grad


def test_a_shut_gate_hears_nothing(image):
    Z, Z_bpa, P = image
    net = Communication(D, stage1=False, gamma=0)
    louder = torch.stack([P[0], P[1] + 1]), torch.stack([Z[0], Z[1] + 1])
    assert torch.equal(net(Z, Z_bpa, P)[0], net(louder[1], Z_bpa, louder[0])[0])
    for cross in net.cross:
        cross.gamma.data.fill_(0.5)
    assert not torch.equal(net(Z, Z_bpa, P)[0], net(louder[1], Z_bpa, louder[0])[0])


def test_residual_and_purification(image):
    Z, Z_bpa, P = image
    torch.testing.assert_close(Communication(D, residual="literal", gamma=0)(Z, Z_bpa, P), Z * torch.sigmoid(Z_bpa))
    torch.testing.assert_close(Communication(D, purify=False, residual="literal", gamma=0)(Z, Z_bpa, P), Z)
    assert (Communication(D, gamma=0)(Z, Z_bpa, P) == 0).all(), "it only asks"


def test_tokens_ask_the_other_modality_or_their_own(image):
    Z, Z_bpa, P = image
    for source, asked in (("other", P.flip(0)), ("own", P)):
        net = Communication(D, stage1=False, purify=False, source=source)
        told = [np.tanh(1) * cross.attention(z, p, p)[0] for cross, z, p in zip(net.cross, Z, asked, strict=True)]
        torch.testing.assert_close(net(Z, Z_bpa, P), torch.stack(told))


def test_asking_only_itself_a_modality_hears_nothing_of_the_other(image):
    Z, Z_bpa, P = image
    other = [torch.stack([x[0], x[1] + 1]) for x in (Z, Z_bpa, P)]
    own = Communication(D, source="own")
    assert torch.equal(own(Z, Z_bpa, P)[0], own(*other)[0]) and own.graph is None
    assert Communication(D, source="own", modalities=1)(Z[:1], Z_bpa[:1], P[:1]).shape == (1, B, N, D)
