import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from udg_datagen.synthesis import wrench

# Two contacts on a cube of edge 2, pressing along x.
POINTS = torch.tensor([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
NORMALS = torch.tensor([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
TARGETS = wrench.target_wrenches(torch.tensor([0.0, 0.0, 1.0]))
EDGES = wrench.cone_edges(0.5, 8)


def _matrix(points: torch.Tensor = POINTS, normals: torch.Tensor = NORMALS) -> torch.Tensor:
    frames = wrench.contact_frames(normals, wrench.reference_axes(normals))
    return wrench.grasp_matrix(points, frames, torch.zeros(3), 1.0, EDGES)


def test_contact_frames_are_right_handed_and_look_inwards() -> None:
    normals = torch.nn.functional.normalize(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    frames = wrench.contact_frames(normals, wrench.reference_axes(normals))
    torch.testing.assert_close(frames.transpose(1, 2) @ frames, torch.eye(3).expand(40, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.det(frames), torch.ones(40))
    torch.testing.assert_close(frames[..., 0], -normals)


def test_column_of_the_grasp_matrix_is_force_and_torque_of_one_edge() -> None:
    points = torch.tensor([[[0.0, 0.0, -1.0]]])
    frames = wrench.contact_frames(torch.tensor([[[0.0, 0.0, -1.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]]))
    A = wrench.grasp_matrix(points, frames, torch.zeros(3), 2.0, torch.tensor([[1.0, 0.5, 0.0]]))
    # Force (0.5, 0, 1) at (0, 0, -1): torque (0, -0.5, 0), over the length scale of 2.
    torch.testing.assert_close(A[0, :, 0], torch.tensor([0.5, 0.0, 1.0, 0.0, -0.25, 0.0]))


def test_forces_agree_with_non_negative_least_squares() -> None:
    A, penalty = _matrix(), 0.02
    a = wrench.solve_forces(A, TARGETS, penalty, 2000)
    stacked = np.concatenate([A[0].double().numpy(), np.sqrt(penalty) * np.eye(A.shape[2])])
    for j, target in enumerate(TARGETS.double().numpy()):
        _, expected = nnls(stacked, np.concatenate([target, np.zeros(A.shape[2])]))
        value = np.sqrt((A[0] @ a[0, j] - torch.tensor(target)).square().sum() + penalty * a[0, j].square().sum())
        assert value.item() == pytest.approx(expected, abs=1e-3)


def test_two_opposite_contacts_resist_all_but_the_torque_about_their_line() -> None:
    a = wrench.solve_forces(_matrix(), TARGETS, 1e-4, 2000)
    residual = (TARGETS - a[0] @ _matrix()[0].T).norm(dim=-1)
    about_x = [j for j in range(12) if TARGETS[j, 3].abs() > 0.5]
    assert len(about_x) == 2
    assert residual[about_x].min() > 0.99
    assert np.delete(residual.numpy(), about_x).max() < 0.05


def test_a_warm_start_at_the_solution_stays_there() -> None:
    A, targets = _matrix(), TARGETS
    a = wrench.solve_forces(A, targets, 0.02, 2000)
    torch.testing.assert_close(wrench.solve_forces(A, targets, 0.02, 5, a), a, atol=1e-4, rtol=0)


def test_coincident_contacts_do_not_make_the_solver_diverge() -> None:
    A = _matrix(POINTS[:, :1].expand(1, 5, 3), NORMALS[:, :1].expand(1, 5, 3))
    assert wrench.solve_forces(A, TARGETS, 0.02, 500).abs().max() < 10.0


def test_residual_from_local_forces_equals_that_from_edge_weights() -> None:
    frames = wrench.contact_frames(NORMALS, wrench.reference_axes(NORMALS))
    targets = TARGETS
    a = wrench.solve_forces(_matrix(), targets, 0.02, 50)
    forces = wrench.local_forces(a, EDGES, 2)
    residual = wrench.wrench_residual(POINTS, frames, forces, targets, torch.zeros(3), 1.0)
    torch.testing.assert_close(residual[0], targets - a[0] @ _matrix()[0].T)


def test_targets_are_unit_wrenches_both_ways_and_the_lift_is_scaled() -> None:
    up = torch.nn.functional.normalize(torch.tensor([1.0, -2.0, 0.5]), dim=0)
    targets = wrench.target_wrenches(up, lift=3.0)
    torch.testing.assert_close(targets.norm(dim=1), torch.tensor([1.0, 1.0, 3.0] + 9 * [1.0]))
    torch.testing.assert_close(targets[2, :3], 3.0 * up)
    torch.testing.assert_close(targets[8, :3], -up)
    along = torch.cat([up, 0.0 * up])
    torch.testing.assert_close(targets.T @ targets, 2.0 * torch.eye(6) + 8.0 * torch.outer(along, along))
