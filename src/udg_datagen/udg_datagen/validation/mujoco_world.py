"""The same small world as `hand_world`, in MuJoCo: a second opinion on grasps, with contacts that are points.

Needs the extra `mujoco` of this package. The hands' roots are mocap bodies and stand still, gravity is off, the object
has its convex parts, real mass and inertia. MuJoCo's own contact settings let every grasp creep; those here do not:

| setting | value | why |
|---|---|---|
| cone | elliptic | the pyramid inscribed in Coulomb's cone loses up to 30 % of the friction |
| impratio | 10 | friction ten times as hard as the normal direction: no creep along the surface |
| solref | 5 ms, critically damped | stiff contacts; two and more steps of 1/480 s, as MuJoCo asks for |
| solimp | 0.95, 0.99, 0.1 mm | hard from the first tenth of a millimetre |
| condim | 3 (points), or 4 | with 4 a contact resists a turn about its normal by `torsion_m` times its force |
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from udg_datagen.validation.hand_world import HandBody, Snapshot
from udg_description.errors import UdgError
from udg_description.shapes import merge_capsules
from udg_description.transforms import matrix_to_quat_wxyz, quat_wxyz_to_matrix
from udg_description.urdf import Inertial, Joint, Primitive, Urdf, load_urdf
from udg_sim.objects.library import ObjectModel
from udg_sim.physics.world import WorldConfig

if TYPE_CHECKING:
    from mujoco import MjSpec

SUBSTEPS = 2
"""Steps of MuJoCo in one of the other simulator."""
SOLREF = (0.005, 1.0)  # [s], damping ratio
SOLIMP = (0.95, 0.99, 1e-4, 0.5, 2.0)
IMPRATIO = 10.0
_OBJECT_BIT = 4
_LEAST_INERTIAL = Inertial(mass=1e-3, com=np.zeros(3), inertia=1e-7 * np.eye(3))


class MujocoError(UdgError):
    """MuJoCo is not installed, or refuses a model."""


def check_installed() -> None:
    """Raise MujocoError, with the command that installs it, where MuJoCo is absent."""
    if importlib.util.find_spec("mujoco") is None:
        raise MujocoError("MuJoCo is not installed: `.venv/bin/pip install -c constraints.txt mujoco` adds it")


def _mujoco() -> ModuleType:
    check_installed()
    import mujoco

    return mujoco


class MujocoWorld:
    """Hands that stand still, left before right, and a weightless object; the methods are those of HandWorld.

    Args:
        mass_kg, friction: of the object; friction is that of all contacts.
        torsion_m: torque about its normal that a contact resists, over its force [Nm/N].
        config: physics rate; gains are those of the bodies.

    Raises:
        MujocoError: MuJoCo is not installed, or refuses the object.
    """

    def __init__(
        self,
        bodies: Sequence[HandBody],
        model: ObjectModel,
        *,
        mass_kg: float,
        friction: float,
        torsion_m: float,
        config: WorldConfig,
    ) -> None:
        mujoco = _mujoco()
        spec = mujoco.MjSpec()
        spec.compiler.degree = False
        option = spec.option
        option.timestep = 1.0 / (SUBSTEPS * config.physics_hz)
        option.gravity = np.zeros(3)
        option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        option.impratio = IMPRATIO
        option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # what diverges must not look at rest
        self._contact: dict[str, Any] = {
            "friction": [friction, torsion_m, 0.0],
            "condim": 4 if torsion_m > 0.0 else 3,
            "solref": list(SOLREF),
            "solimp": list(SOLIMP),
        }
        names = []
        for index, body in enumerate(bodies):
            names.append([f"{index}/{name}" for name in body.joint_names])
            _HandBuilder(spec, body, f"{index}/", self._contact | _bits(1 << index, _OBJECT_BIT | (3 ^ (1 << index))))
        self._add_object(spec, model, mass_kg)
        try:
            self._model = spec.compile()
        except ValueError as error:
            raise MujocoError(f"MuJoCo refuses object {model.id}: {error}") from error
        self._data = mujoco.MjData(self._model)
        self._step, self._forward = mujoco.mj_step, mujoco.mj_forward
        joints = [[self._model.joint(name) for name in of_hand] for of_hand in names]
        self._q = [np.array([joint.qposadr[0] for joint in of_hand]) for of_hand in joints]
        self._qd = [np.array([joint.dofadr[0] for joint in of_hand]) for of_hand in joints]
        self._ctrl = [np.array([self._model.actuator(name).id for name in of_hand]) for of_hand in names]
        free = self._model.joint("object")
        self._at, self._at_velocity = int(free.qposadr[0]), int(free.dofadr[0])
        self._object = self._model.body("object").id

    def _add_object(self, spec: MjSpec, model: ObjectModel, mass_kg: float) -> None:
        mujoco = _mujoco()
        body = spec.worldbody.add_body(name="object")
        body.add_freejoint(name="object")
        _set_inertial(body, Inertial(mass=mass_kg, com=np.zeros(3), inertia=mass_kg * model.unit_inertia))
        for k, part in enumerate(model.convex_parts):
            mesh = spec.add_mesh(name=f"part {k}")
            mesh.uservert = np.asarray(part.vertices, dtype=float).ravel()
            mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh.name, **self._contact, **_bits(_OBJECT_BIT, 3))

    def reset(self, Ts_world_hand: np.ndarray, q: np.ndarray, T_world_object: np.ndarray) -> None:
        """Reset: hands at rest at poses (H, 4, 4) with joints (H, J) [rad] and holding them, object at rest."""
        for h, T_world_hand in enumerate(Ts_world_hand):
            self._data.mocap_pos[h] = T_world_hand[:3, 3]
            self._data.mocap_quat[h] = matrix_to_quat_wxyz(T_world_hand[:3, :3])
        self.set_target(q)
        self.restore(Snapshot(tuple(q), tuple(np.zeros_like(joints) for joints in q), T_world_object, np.zeros(6)))

    def restore(self, state: Snapshot) -> None:
        """Go on from a state of these hands at these roots; the targets stay."""
        data = self._data
        data.time = 0.0
        for h in range(len(self._q)):
            data.qpos[self._q[h]] = state.q[h]
            data.qvel[self._qd[h]] = state.qd[h]
        at, rate, T = self._at, self._at_velocity, state.T_world_object
        data.qpos[at : at + 3] = T[:3, 3]
        data.qpos[at + 3 : at + 7] = matrix_to_quat_wxyz(T[:3, :3])
        data.qvel[rate : rate + 3] = state.velocity[:3]
        data.qvel[rate + 3 : rate + 6] = T[:3, :3].T @ state.velocity[3:]  # MuJoCo's is in the body's axes
        data.qacc_warmstart[:] = 0.0
        data.xfrc_applied[:] = 0.0
        self._forward(self._model, data)

    def snapshot(self) -> Snapshot:
        """The present state, for `restore`."""
        T, rate = self.T_world_object, self._at_velocity
        velocity = self._data.qvel[rate : rate + 6].copy()
        velocity[3:] = T[:3, :3] @ velocity[3:]
        return Snapshot(
            tuple(self._data.qpos[at].copy() for at in self._q),
            tuple(self._data.qvel[at].copy() for at in self._qd),
            T,
            velocity,
        )

    def set_target(self, q: np.ndarray) -> None:
        """Command joints (H, J) [rad]."""
        for at, target in zip(self._ctrl, q, strict=True):
            self._data.ctrl[at] = target

    def step(self, n: int, force_world: np.ndarray | None = None) -> None:
        """Advance n steps of 1 / physics_hz, with a force (3,) [N] on the object's centre of mass."""
        self._data.xfrc_applied[self._object, :3] = 0.0 if force_world is None else force_world
        self._step(self._model, self._data, n * SUBSTEPS)

    @property
    def T_world_object(self) -> np.ndarray:
        """Pose (4, 4) of the object."""
        T, at = np.eye(4), self._at
        T[:3, 3] = self._data.qpos[at : at + 3]
        T[:3, :3] = quat_wxyz_to_matrix(self._data.qpos[at + 3 : at + 7])
        return T


def _bits(own: int, others: int) -> dict[str, int]:
    return {"contype": own, "conaffinity": others}


def _set_inertial(body: Any, inertial: Inertial) -> None:  # noqa: ANN401 - MuJoCo's types come with the extra alone
    values, axes = np.linalg.eigh(inertial.inertia)
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    body.explicitinertial = True
    body.mass = inertial.mass
    body.ipos, body.iquat = inertial.com, matrix_to_quat_wxyz(axes)
    least = max(1e-9, 0.51 * values[2] - values[1])  # a URDF's inertia may break the triangle inequality
    body.inertia = np.maximum(values, least)


class _HandBuilder:
    """Adds one hand of a URDF below a mocap body."""

    def __init__(self, spec: MjSpec, hand: HandBody, prefix: str, contact: Mapping[str, Any]) -> None:
        self._spec, self._hand, self._prefix, self._contact = spec, hand, prefix, contact
        self._urdf: Urdf = load_urdf(hand.urdf)
        self._drives = dict(zip(hand.joint_names, hand.drives, strict=True))
        root = spec.worldbody.add_body(name=f"{prefix}root", mocap=True)
        self._fill(root, hand.root)

    def _fill(self, body: Any, link: str) -> None:  # noqa: ANN401
        for primitive in merge_capsules(self._urdf.links[link].primitives):
            self._add_geom(body, primitive)
        for joint in self._urdf.joints.values():
            if joint.parent == link:
                T, name = joint.T_parent_joint, f"{self._prefix}{joint.child}"
                child = body.add_body(name=name, pos=T[:3, 3], quat=matrix_to_quat_wxyz(T[:3, :3]))
                inertial = self._urdf.links[joint.child].inertial
                if inertial is not None or joint.kind != "fixed":
                    _set_inertial(child, inertial or _LEAST_INERTIAL)
                if joint.kind != "fixed":
                    self._add_joint(child, joint)
                self._fill(child, joint.child)

    def _add_joint(self, body: Any, joint: Joint) -> None:  # noqa: ANN401
        mujoco = _mujoco()
        drive, name = self._drives[joint.name], f"{self._prefix}{joint.name}"
        body.add_joint(
            name=name,
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=joint.axis,
            armature=drive.armature,
            range=[joint.lower, joint.upper],
            limited=bool(np.isfinite([joint.lower, joint.upper]).all()),
        )
        limit = drive.force_limit
        motor = self._spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.gaintype, motor.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
        motor.gainprm[0] = drive.stiffness
        motor.biasprm[:3] = [0.0, -drive.stiffness, -drive.damping]
        if np.isfinite(limit):
            motor.forcelimited, motor.forcerange = True, [-limit, limit]

    def _add_geom(self, body: Any, primitive: Primitive) -> None:  # noqa: ANN401
        kinds = _mujoco().mjtGeom
        size = list(primitive.size)
        kind, edges = {
            "box": (kinds.mjGEOM_BOX, [0.5 * edge for edge in size]),
            "sphere": (kinds.mjGEOM_SPHERE, [size[0], 0.0, 0.0]),
            "cylinder": (kinds.mjGEOM_CYLINDER, [size[0], 0.5 * size[-1], 0.0]),
            "capsule": (kinds.mjGEOM_CAPSULE, [size[0], 0.5 * size[-1], 0.0]),
        }[primitive.kind]
        T = primitive.T_link_shape
        body.add_geom(type=kind, size=edges, pos=T[:3, 3], quat=matrix_to_quat_wxyz(T[:3, :3]), **self._contact)
