"""The heads by the name that `decoder.head` of the configuration has. A new one: a file here, and a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from udg_policy.heads.flow_matching import FlowMatchingHead
from udg_policy.heads.head import ActionDistribution, Head, HeadLoss
from udg_policy.heads.regression import RegressionHead
from udg_policy.heads.truncated_normal import TruncatedNormalHead

if TYPE_CHECKING:
    from udg_policy.config import PolicyConfig

__all__ = ["HEADS", "ActionDistribution", "Head", "HeadLoss", "make_head"]

HEADS: dict[str, type[Head]] = {
    "truncated_normal": TruncatedNormalHead,
    "regression": RegressionHead,
    "flow_matching": FlowMatchingHead,
}


def make_head(config: PolicyConfig) -> Head:
    """The head of a configuration, with parameters as before a training."""
    return HEADS[config.decoder.head](config)
