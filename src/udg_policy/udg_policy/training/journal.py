"""What a training run reports: a progress bar with loss and samples a second, and TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

LOGS_NAME = "tensorboard"


class Journal:
    """Logs of one run; silent for all processes but the first."""

    def __init__(self, out: Path, enabled: bool, quiet: bool) -> None:
        self._writer = SummaryWriter(str(out / LOGS_NAME)) if enabled else None
        self._quiet = quiet or not enabled
        self._bar = tqdm(total=100.0, disable=self._quiet, bar_format="{l_bar}{bar}| {elapsed} {postfix}")

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Curves of TensorBoard."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def progress(self, share: float, text: str) -> None:
        """Set the bar to a share in [0, 1]."""
        self._bar.n = round(100.0 * min(share, 1.0), 1)
        self._bar.set_postfix_str(text)

    def line(self, text: str) -> None:
        """Print a line above the bar."""
        if not self._quiet:
            tqdm.write(text)

    def close(self) -> None:
        """Finish both."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()
