"""Parameters side by side in memory train as they do one by one."""

import torch
from torch import nn

from udg_policy.network.attend_rows import attend_rows
from udg_policy.training.flat_parameters import FlatParameters


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3))


def test_the_network_uses_the_flat_memory() -> None:
    plain, net = network(), network()
    flat = FlatParameters(net)
    x = torch.randn(4, 5)
    assert torch.equal(net(x), plain(x))
    net(x).sum().backward()
    plain(x).sum().backward()
    gradients = flat.views(flat.gradient)
    for name, parameter in plain.named_parameters():
        assert torch.equal(gradients[name], parameter.grad), name
    flat.values.zero_()
    assert not net(x).any()


def test_a_step_is_that_of_single_parameters() -> None:
    plain, net = network(), network()
    flat = FlatParameters(net)
    settings = {"lr": 0.01, "betas": (0.9, 0.98)}
    matrices, others = ([p for p in plain.parameters() if (p.ndim >= 2) == wide] for wide in (True, False))
    one_by_one = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], **settings
    )
    together = torch.optim.AdamW(
        [{"params": [flat.matrices], "weight_decay": 0.1}, {"params": [flat.others], "weight_decay": 0.0}],
        fused=True,
        **settings,
    )
    for step in range(3):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(step))
        one_by_one.zero_grad()
        flat.gradient.zero_()
        for net_ in (plain, net):
            (10.0 * net_(x) ** 2).sum().backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        flat.clip_gradient(1.0)
        one_by_one.step()
        together.step()
    values = flat.views(flat.values)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(values[name], parameter.detach(), msg=name)


def test_attention_to_rows_has_autograds_gradients() -> None:
    torch.manual_seed(0)
    wanted, rows = torch.randn(2, 3, 4, dtype=torch.double), torch.randn(2, 5, 4, dtype=torch.double)
    blocked = torch.zeros(3, 5)
    blocked[0, 4] = -torch.inf
    results = []
    for function in (attend_rows, lambda w, r, b, s: ((w @ r.transpose(1, 2)) * s + b).softmax(dim=2) @ r):
        w, r = wanted.clone().requires_grad_(True), rows.clone().requires_grad_(True)
        out = function(w, r, blocked, 0.5)
        (out**2).sum().backward()
        results.append((out.detach(), w.grad, r.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
