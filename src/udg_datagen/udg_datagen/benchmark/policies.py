"""Policies by name: `ours`, `planner`, `dexgraspnet`, `dp3`, ... (HELP), or `module:Class` of your own.

A name may have an argument: ours:FOLDER, ours_once:FOLDER and dp3:FOLDER of a checkpoint,
dexgraspnet:CANDIDATESxITERATIONS. LABEL=POLICY calls it LABEL in rows and tables.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from udg_datagen.evaluation.policy import Policy
from udg_description.errors import UdgError
from udg_description.files import user_path
from udg_policy.inference.retry import RetryConfig
from udg_policy.network.checkpoint import AGAIN_NAME, WEIGHTS_NAME, load_checkpoints
from udg_sim.objects.library import SIZES

if TYPE_CHECKING:
    from udg_datagen.evaluation.cell import Cell

HELP = (
    "comma-separated: ours[:CHECKPOINT] (default: the shipped one), ours_once[:CHECKPOINT] (the same, but it never "
    "begins anew), planner (the generator, which knows the mesh), "
    "dexgraspnet[:CANDIDATESxITERATIONS] (its grasps of the mesh, our planner; small and medium objects), "
    "dexgraspnet_tested[:CANDIDATESxITERATIONS] (the nearest that lifts the object in physics), "
    "dp3:CHECKPOINT (of `udg dp3-train`), module:Class of your own; "
    "LABEL=POLICY calls it LABEL in the tables"
)
_LABELLED = re.compile(r"([\w.-]{1,40})=(.+)", re.ASCII)


class NotAvailableError(UdgError):
    """A checkpoint that is not, or no longer, the one that takes part: not the policy's fault."""


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A policy that takes part. `make` is called in the worker, with the cell that its trials take place in."""

    name: str  # in the tables: its label, otherwise as it was asked for
    make: Callable[[Cell], Policy]
    sizes: tuple[str, ...] = tuple(SIZES)  # of the objects that it can handle
    digest: str = ""  # of what it was made from
    data_hash: str = ""  # of the data that it was trained on
    trained_on: tuple[str, ...] = ()  # objects
    rules: str = "paper"  # of rules.RULES

    def under(self, rules: str) -> Entrant:
        """The same policy under other rules, told apart by its name."""
        return replace(self, name=f"{self.name} [{rules}]", rules=rules) if rules != self.rules else self


def entrants(text: str) -> list[Entrant]:
    """The policies of a comma-separated text, each checked here, before any trial. Raises UdgError."""
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise UdgError(f"no policy in {text!r}; valid: {HELP}")
    found = [entrant(word) for word in words]
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UdgError(f"policies {text!r}: {twice[0]} names two of them; valid: another LABEL=POLICY")
    return found


def entrant(word: str) -> Entrant:
    """The policy of [LABEL=]NAME[:ARGUMENT]. Raises UdgError."""
    labelled = _LABELLED.fullmatch(word)
    return replace(_named(labelled[2]), name=labelled[1]) if labelled else _named(word)


def _named(name: str) -> Entrant:
    kind, _, argument = name.partition(":")
    if kind in _KINDS:
        return _KINDS[kind](name, argument)
    if argument.isidentifier() and all(part.isidentifier() for part in kind.split(".")):
        return _foreign(name, kind, argument)
    raise UdgError(f"policy {name!r} does not exist; valid: {HELP}")


def _ours(name: str, argument: str, retry: RetryConfig | None = None) -> Entrant:
    folder = user_path(argument) if argument else Path(str(resources.files("udg_policy") / "data" / "edge"))
    checkpoints = load_checkpoints(folder)
    weights = [folder / WEIGHTS_NAME, folder / AGAIN_NAME / WEIGHTS_NAME][: len(checkpoints)]
    digest = _digest(*weights)
    return Entrant(
        name=name,
        make=partial(_checked, partial(_make_ours, folder, retry), weights, digest),
        digest=digest,
        data_hash=" ".join(dict.fromkeys(checkpoint.data_hash for checkpoint in checkpoints)),
        trained_on=tuple(sorted({name for checkpoint in checkpoints for name in checkpoint.train_objects})),
    )


def _make_ours(folder: Path, retry: RetryConfig | None, cell: Cell) -> Policy:
    from udg_datagen.evaluation.engine_policy import EnginePolicy
    from udg_policy.inference.engine import PolicyEngine

    return EnginePolicy(PolicyEngine.load(folder), retry=retry)


def _planner(name: str, argument: str) -> Entrant:
    if argument:
        raise UdgError(f"policy {name!r}: planner takes no argument")
    from udg_datagen.expert.expert import VERSION

    return Entrant(name=name, make=_make_planner, digest=f"expert {VERSION}")


def _make_planner(cell: Cell) -> Policy:
    from udg_datagen.evaluation.planner_policy import PlannerPolicy

    return PlannerPolicy()


def _dp3(name: str, argument: str) -> Entrant:
    from udg_datagen.baselines.dp3.checkpoint import load

    if not argument:
        raise UdgError(f"policy {name!r}: none is shipped; valid: dp3:FOLDER of `udg dp3-train`")
    folder = user_path(argument)
    checkpoint = load(folder)
    weights = [folder / WEIGHTS_NAME]
    digest = _digest(*weights)
    return Entrant(
        name=name,
        make=partial(_checked, partial(_make_dp3, folder), weights, digest),
        digest=digest,
        data_hash=checkpoint.data_hash,
        trained_on=checkpoint.train_objects,
    )


def _make_dp3(folder: Path, cell: Cell) -> Policy:
    from udg_datagen.baselines.dp3.policy import DP3Policy

    return DP3Policy.load(folder)


def _dexgraspnet(name: str, argument: str, *, tested: bool = False) -> Entrant:
    from udg_datagen.benchmark.dexgraspnet_policy import SIZES as ONE_HAND
    from udg_datagen.benchmark.dexgraspnet_policy import VERSION, parse

    method = parse(argument).method
    how = "tested" if tested else "lowest energy"
    digest = f"version {VERSION}, {method.n_candidates} candidates, {method.iterations} iterations, {how}"
    return Entrant(name=name, make=partial(_make_dexgraspnet, argument, tested), sizes=ONE_HAND, digest=digest)


def _make_dexgraspnet(argument: str, tested: bool, cell: Cell) -> Policy:
    from udg_datagen.benchmark.dexgraspnet_policy import DexGraspNetChoices, parse
    from udg_datagen.evaluation.planner_policy import PlannerPolicy

    return PlannerPolicy(DexGraspNetChoices(parse(argument, tested=tested)))


def _foreign(name: str, module: str, attribute: str) -> Entrant:
    try:
        found = importlib.import_module(module)
        kind = getattr(found, attribute)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        why = f"{type(error).__name__}: {error}"
        raise UdgError(f"policy {name!r}: {why}; valid: module:Class that can be imported (PYTHONPATH)") from error
    missing = [method for method in ("reset", "act") if not callable(getattr(kind, method, None))]
    if missing:
        raise UdgError(f"policy {name!r}: has no method {missing[0]}; valid: reset(start) and act(observation)")
    path = getattr(found, "__file__", None)
    digest = " ".join(filter(None, [_digest(Path(path)) if path else "", str(getattr(kind, "digest", ""))]))
    trained_on = getattr(kind, "trained_on", ())
    if isinstance(trained_on, str) or not all(isinstance(one, str) for one in trained_on):
        raise UdgError(f"policy {name!r}: trained_on is {trained_on!r:.60}; valid: ids of objects")
    make = partial(_make_foreign, module, attribute)
    return Entrant(name=name, make=make, digest=digest, trained_on=tuple(trained_on))


def _make_foreign(module: str, attribute: str, cell: Cell) -> Policy:
    return getattr(importlib.import_module(module), attribute)()


def _checked(make: Callable[[Cell], Policy], weights: Sequence[Path], digest: str, cell: Cell) -> Policy:
    """A policy of these very weights. Raises NotAvailableError where they cannot be read or are others by now."""
    try:
        policy = make(cell)
        now = _digest(*weights)
    except (UdgError, OSError) as error:
        raise NotAvailableError(str(error)) from error
    if now != digest:
        raise NotAvailableError(
            f"{weights[0].parent}: holds other weights than at the start; valid: a training at rest"
        )
    return policy


def _digest(*paths: Path) -> str:
    return " ".join(hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths)


_KINDS: dict[str, Callable[[str, str], Entrant]] = {
    "ours": _ours,
    "ours_once": partial(_ours, retry=RetryConfig(after_s=0.0)),
    "planner": _planner,
    "dexgraspnet": _dexgraspnet,
    "dexgraspnet_tested": partial(_dexgraspnet, tested=True),
    "dp3": _dp3,
}
