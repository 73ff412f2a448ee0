"""SAPIEN's renderer against the ray caster; skipped where no Vulkan device renders."""

import numpy as np
import pytest

from udg_description.camera import CameraModel
from udg_description.layout import HOME_Q
from udg_description.transforms import make_transform
from udg_sim.cameras import sapien_renderer
from udg_sim.cameras.depth import DepthRig
from udg_sim.cameras.sapien_renderer import RendererError, SapienRenderer
from udg_sim.cameras.video import SceneRenderer, Viewpoint
from udg_sim.objects.library import ObjectLibrary

VIEW = Viewpoint(width=320, height=240)


def test_without_a_device_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sapien_renderer, "vulkan_available", lambda: False)
    with pytest.raises(RendererError, match="lavapipe"):
        SapienRenderer()


def test_a_probe_that_crashes_means_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sapien_renderer, "_PROBE", "import os; os.abort()")
    assert not sapien_renderer.vulkan_available.__wrapped__()


@pytest.mark.slow
def test_both_renderers_see_the_same_depth_and_object() -> None:
    if not sapien_renderer.vulkan_available():
        pytest.skip("no Vulkan device renders here")
    cube = ObjectLibrary().get("cube_60")
    objects = [(cube, make_transform(translation=np.array([0.6, 0.0, 0.03])))]
    renderer = SapienRenderer(VIEW)
    depth_m = renderer.depth(HOME_Q, objects)
    camera: CameraModel = VIEW.camera()
    (cast_mm,) = DepthRig([camera]).render(HOME_Q, objects)
    both = (depth_m > 0.5) & (cast_mm > 0)
    error_m = np.abs(depth_m[both] - cast_mm[both] / 1000)
    assert both.mean() > 0.5
    assert np.median(error_m) < 1e-3
    assert np.mean(error_m > 5e-3) < 0.01
    pictures = [renderer.render(HOME_Q, objects), SceneRenderer(VIEW).render(HOME_Q, objects)]
    orange = [(p[..., 0].astype(int) > p[..., 2].astype(int) + 60) for p in pictures]
    assert (orange[0] & orange[1]).sum() > 0.9 * (orange[0] | orange[1]).sum() > 0
