"""The shipped checkpoint says what it said when it was shipped; `python test_shipped_policy.py` records it anew."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from udg_policy.bench.bench_policy import observations
from udg_policy.inference.engine import PolicyEngine
from udg_policy.inference.prepared import InferenceConfig
from udg_policy.network.checkpoint import DESCRIPTION_NAME
from udg_policy.threads import one_thread

RECORD = Path(__file__).parent / "data" / "shipped_chunks.npz"
SHIPPED = Path(str(files("udg_policy") / "data" / "edge"))
ROUNDING_RAD = 1e-5  # of another processor or another library


def computer() -> str:
    """What decides how sums are rounded: processor and libraries."""
    told = {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "processor": dict(getattr(torch.cpu, "get_capabilities", dict)()),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def weights_hash() -> str:
    return str(json.loads((SHIPPED / DESCRIPTION_NAME).read_text())["weights_sha256"])


def chunks(points: np.ndarray, q: np.ndarray) -> np.ndarray:
    engine = PolicyEngine.load(SHIPPED, InferenceConfig(precision="float32"))
    with one_thread():
        return np.stack([engine.act(*one) for one in zip(points, q, strict=True)])


def test_the_shipped_policy_gives_the_recorded_chunks() -> None:
    with np.load(RECORD, allow_pickle=False) as record:
        assert record["weights_sha256"] == weights_hash(), "another checkpoint is shipped: record its chunks"
        got = chunks(record["points"], record["q"])
        np.testing.assert_allclose(got, record["chunks"], atol=ROUNDING_RAD, rtol=0.0)
        if record["computer"] == computer():
            np.testing.assert_array_equal(got, record["chunks"])


def record() -> None:
    scenes = observations(seed=0)[::5]
    points, q = (np.stack(values) for values in zip(*scenes, strict=True))
    np.savez_compressed(
        RECORD, points=points, q=q, chunks=chunks(points, q), computer=computer(), weights_sha256=weights_hash()
    )


if __name__ == "__main__":
    record()
