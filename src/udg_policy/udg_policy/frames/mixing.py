"""Several data sets in one training: DATA=out/demos,out/corrections or, with a share, out/corrections=0.3.

The share of a data set is that of the samples that are drawn from it. Data sets without a share have the rest, each in
proportion to its frames; corrections (`udg corrections`) among them no more than half of all samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from udg_description.files import user_path
from udg_policy.episodes.dataset import EpisodeDataset
from udg_policy.errors import ConfigError

MOST_ON_POLICY = 0.5  # of the samples, unless shares are given


class Part(NamedTuple):
    """A data set's place in a training."""

    share: float | None  # of the samples; None: in proportion to its frames
    on_policy: bool  # corrections of a policy


@dataclass(frozen=True)
class Source:
    """A data set to train on, as the user names it."""

    dataset: EpisodeDataset
    part: Part


def sources(text: str, skip_corrupt: bool = False) -> list[Source]:
    """The data sets of FOLDER[=SHARE],... Raises ConfigError for shares that make no sense, DatasetError."""
    found: list[Source] = []
    for item in text.split(","):
        folder, equals, share = item.strip().partition("=")
        if not folder:
            raise ConfigError(f"--data {text}: a folder is missing; valid: FOLDER,FOLDER=SHARE")
        dataset = EpisodeDataset(user_path(folder), skip_corrupt=skip_corrupt)
        found.append(Source(dataset, Part(_share(share, item) if equals else None, "correction" in dataset.meta(0))))
    folders = [source.dataset.folder.resolve() for source in found]
    twice = next((folder for i, folder in enumerate(folders) if folder in folders[:i]), None)
    if twice is not None:
        raise ConfigError(f"--data {text}: {twice} is given twice")
    _check_shares([source.part for source in found], text)
    return found


def _share(text: str, item: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"--data {item}: the share is {text!r}; valid: above 0, at most 1")
    return share


def _check_shares(parts: Sequence[Part], text: str) -> None:
    given = [part.share for part in parts if part.share is not None]
    total, unshared = sum(given), len(given) < len(parts)
    if total > 1.0 + 1e-9 or (unshared and total > 1.0 - 1e-9):
        raise ConfigError(
            f"--data {text}: the shares add up to {total:g}; valid: at most 1"
            + (", less if a data set has none" if unshared else "")
        )
    if not unshared and abs(total - 1.0) > 1e-6:
        raise ConfigError(f"--data {text}: the shares of all data sets add up to {total:g}; valid: 1")


def data_hash(found: Sequence[Source]) -> str:
    """That of the data set, or of all with their shares: what a training is resumed with must have the same one."""
    if len(found) == 1:
        return found[0].dataset.hash()
    text = "".join(f"{source.dataset.hash()} {source.part.share}\n" for source in found)
    return hashlib.sha256(text.encode()).hexdigest()


def shares(parts: Sequence[Part], weights: Sequence[float]) -> list[float]:
    """The share of each data set in the samples; weights: of all its frames, which are what they have without shares.

    A data set without weight (all its episodes are held out, for example) has none. Raises ConfigError where
    none is left.
    """
    given = sum(part.share or 0.0 for part in parts)
    free = [weight if part.share is None else 0.0 for part, weight in zip(parts, weights, strict=True)]
    rest = [(1.0 - given) * weight / sum(free) if sum(free) > 0.0 else 0.0 for weight in free]
    on_policy = sum(share for part, share in zip(parts, rest, strict=True) if part.on_policy)
    others = sum(rest) - on_policy
    most = max(0.0, MOST_ON_POLICY - sum(part.share or 0.0 for part in parts if part.on_policy))
    if on_policy > most and others > 0.0:
        rest = [
            share * (most / on_policy if part.on_policy else (others + on_policy - most) / others)
            for part, share in zip(parts, rest, strict=True)
        ]
    out = [
        (free_share if part.share is None else part.share) if weight > 0.0 else 0.0
        for part, free_share, weight in zip(parts, rest, weights, strict=True)
    ]
    total = sum(out)
    if not total > 0.0:
        raise ConfigError("train: no data set has a frame to train on")
    return [share / total for share in out]
