"""Settings of grasp synthesis."""

from __future__ import annotations

from dataclasses import dataclass

from udg_datagen.synthesis.strategies import AUTO, hands_needed
from udg_description.errors import UdgError


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """Bilevel grasp synthesis (paper IV-A, eq. 6).

    Weights of distances are per cm^2: a weight of 150 costs 1.5 for one contact 1 mm off.
    """

    strategy: str = AUTO  # "pinch" | "tripod" | "whole_hand" | "bimanual", or by the size of the object
    n_candidates: int = 500
    n_keep: int | None = None  # lowest energies kept; None keeps every candidate that passes the gates
    n_open: int | None = None  # lowest energies of a batch that are finished: opened and squeezed; None: all
    batch: int = 250  # candidates optimised together

    # Upper level: gradient descent over hand pose and joints
    qp_steps: int = 250  # steps with the wrench term
    refine_steps: int = 50  # steps without it, which close the contacts
    lr_translation: float = 0.003  # [m]
    lr_rotation: float = 0.03  # [rad]
    lr_joints: float = 0.04  # [rad]
    weight_contact: tuple[float, float] = (2.0, 150.0)  # first and last step, exponential between [1/cm^2]
    weight_penetration: tuple[float, float] = (10.0, 100.0)  # [1/cm^2]
    weight_table: float = 30.0  # [1/cm^2]
    weight_self: float = 30.0  # [1/cm^2]
    weight_hands: float = 30.0  # [1/cm^2] of two hands against each other
    weight_pad: float = 10.0
    weight_wrench: float = 1.0
    # Towards a reference pose of the hands (`Near`), if one is given
    weight_near: float = 400.0  # [1/m] of the distance of eq. 10 with posture
    near_rotation_m: float = 0.1  # lambda of eq. 10 [m/rad]
    near_posture_m: float = 0.1  # of the joints' root mean square deviation from the preshape [m/rad]
    near_spread_m: tuple[float, float] = (0.005, 0.03)  # standard deviation of the first and of the last start
    near_spread_rad: tuple[float, float] = (0.05, 0.6)
    pad_cosine: float = 0.7  # the pad axis meets the surface normal within acos of this
    margin_object: float = 0.001  # [m] clearance asked of collision spheres
    margin_active_tip: float = -0.001  # [m] the same for links whose pad is in contact
    margin_table: float = 0.002  # [m]
    margin_hands: float = 0.004  # [m] between two hands

    # Lower level: contact forces
    friction: float = 0.4  # below what is tested, as a reserve
    cone_edges: int = 6
    force_penalty: float = 0.02
    lift_wrench: float = 12.0  # size of the target that holds the weight; torques have 1
    force_wrench: float = 12.0  # size of the other target forces: pulls through the centre of mass
    qp_every: int = 4  # steps between two solutions
    qp_iterations: int = 10

    # Start
    centre_depth: tuple[float, float] = (0.005, 0.035)  # [m] of the grasp centre below the convex hull
    centre_tries: int = 4  # depths drawn per start; the first that is inside the object is taken
    weight_outside: float = 20.0  # of a grasp centre outside the object against spheres in the table [1]
    straddle: float = 0.7  # share of one-hand starts turned so that thumb and fingers oppose across a surface
    centre_depth_bimanual: tuple[float, float] = (-0.01, 0.025)  # [m] the same for two hands
    joint_spread_bimanual: float = 0.2  # [rad] of the joints about the preshape
    approach_max_up: float = 0.1  # largest upward component of the palm normal
    start_oversampling: int = 3  # poses drawn per start; those least in the table are kept
    screen_factor: int = 2  # starts per candidate
    screen_step: int = 40  # step after which only the best of them, one per candidate, go on

    # Pregrasp and squeeze
    pregrasp_distance: float = 0.1  # [m] back along the palm normal
    pregrasp_tip_clearance: float = 0.012  # [m]
    pregrasp_clearance: float = 0.005  # [m] of every sphere along the approach
    pregrasp_steps: int = 40
    squeeze_stiffness: float = 10.0  # [Nm/rad] of the position loop the target is meant for
    squeeze_effort_share: float = 0.95  # of the joints' effort limits
    squeeze_max_force: float = 12.0  # [N] at any contact

    # Gates: a candidate outside is dropped
    max_tip_distance: float = 0.002  # [m]
    max_penetration: float = 0.002  # [m]
    max_hands_penetration: float = 0.0  # [m]
    max_self_penetration: float = 0.002  # [m]
    max_table_penetration: float = 0.0  # [m]
    max_approach_penetration: float = 0.003  # [m] of the open hand on its way in

    def __post_init__(self) -> None:
        """Check the values. Raises UdgError, StrategyError for an unknown strategy."""
        if self.strategy != AUTO:
            hands_needed(self.strategy)
        if self.n_candidates < 1 or self.batch < 1:
            raise UdgError(f"n_candidates {self.n_candidates} and batch {self.batch} must be at least 1")
        if self.n_keep is not None and self.n_keep < 1:
            raise UdgError(f"n_keep {self.n_keep} must be at least 1 or None")
        if self.cone_edges < 3 or self.friction <= 0.0:
            raise UdgError(f"cone_edges {self.cone_edges} must be >= 3 and friction {self.friction} > 0")
        if self.start_oversampling < 1 or self.screen_factor < 1:
            raise UdgError("start_oversampling and screen_factor must be at least 1")
        if self.screen_step % self.qp_every or not 0 < self.screen_step <= self.qp_steps:
            raise UdgError(
                f"screen_step {self.screen_step} must be a multiple of qp_every {self.qp_every} within qp_steps"
            )
        if self.qp_every < 1 or self.qp_iterations < 1 or self.qp_steps < 1 or self.refine_steps < 0:
            raise UdgError("qp_every, qp_iterations and qp_steps must be at least 1, refine_steps at least 0")
