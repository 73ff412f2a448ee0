"""Noise of a continuous-wave time-of-flight depth camera."""

from dataclasses import dataclass

import numpy as np

from udg_description.errors import UdgError


@dataclass(frozen=True, kw_only=True)
class KinectNoise:
    """Random error, holes and flying pixels of an Azure Kinect in its narrow unbinned mode.

    The data sheet gives a standard deviation of at most 17 mm over the range; the growth with the distance is an
    assumption (1.5 mm at 1 m, 3.4 mm at 1.5 m, 6 mm at 2 m).
    """

    sigma_1m_m: float = 0.0015  # standard deviation at 1 m [m]
    sigma_power: float = 2.0  # growth with the distance
    sigma_max_m: float = 0.017  # [m]
    grazing_cosine: float = 0.2  # below this cosine of incidence returns fade: all lost at 0, none here
    edge_step_m: float = 0.03  # depth step to a neighbouring pixel that makes an edge [m]
    edge_loss: float = 0.3  # share of edge pixels that are lost
    edge_flying: float = 0.1  # share of edge pixels that lie between foreground and background

    def __post_init__(self) -> None:
        for name in ("sigma_1m_m", "sigma_power", "sigma_max_m", "grazing_cosine", "edge_loss", "edge_flying"):
            if not getattr(self, name) >= 0:
                raise UdgError(f"KinectNoise.{name} is {getattr(self, name)}, must be >= 0")
        if self.edge_loss + self.edge_flying > 1:
            raise UdgError("KinectNoise.edge_loss + edge_flying must be at most 1")

    def sigma(self, depth_m: np.ndarray) -> np.ndarray:
        """Standard deviation [m] at a depth [m]."""
        return np.minimum(self.sigma_1m_m * np.asarray(depth_m) ** self.sigma_power, self.sigma_max_m)

    def apply(self, depth_m: np.ndarray, cosine: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Noisy copy of a depth image (H, W) [m] (inf: nothing); 0 where the return is lost. cosine of incidence."""
        clean = np.where(np.isfinite(depth_m), depth_m, np.float32(0)).astype(np.float32, copy=False)
        flat, cosine = clean.ravel(), cosine.ravel()
        seen = np.flatnonzero(flat)
        noisy = np.zeros_like(flat)
        noisy[seen] = flat[seen] + self.sigma(flat[seen]) * rng.standard_normal(len(seen), dtype=np.float32)
        near, far = _neighbour_range(clean)
        near, far = near.ravel(), far.ravel()
        edge = seen[(far - near)[seen] > self.edge_step_m]
        chance = rng.random(len(edge), dtype=np.float32)
        lost = edge[chance < self.edge_loss]
        flying = edge[(chance >= self.edge_loss) & (chance < self.edge_loss + self.edge_flying)]
        share = rng.random(len(flying), dtype=np.float32)
        noisy[flying] = near[flying] + share * (far - near)[flying]
        noisy[lost] = 0
        grazing = seen[cosine[seen] < self.grazing_cosine]
        fade = self.grazing_cosine * rng.random(len(grazing), dtype=np.float32)
        noisy[grazing[cosine[grazing] < fade]] = 0
        return noisy.reshape(clean.shape)


def _neighbour_range(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest depth among each pixel and its four neighbours; what is unseen (0) is no least depth."""
    near = np.where(depth > 0, depth, np.float32(np.inf))
    low, high = near.copy(), depth.copy()
    for source, target, choose in ((near, low, np.minimum), (depth, high, np.maximum)):
        choose(target[1:], source[:-1], out=target[1:])
        choose(target[:-1], source[1:], out=target[:-1])
        choose(target[:, 1:], source[:, :-1], out=target[:, 1:])
        choose(target[:, :-1], source[:, 1:], out=target[:, :-1])
    return low, high
