"""Grasps of a mesh of your own, by one hand, tried in physics.

python examples/grasps_of_my_mesh.py part.obj 0.12      # its longest edge becomes 0.12 m
"""

import sys

from udg_datagen.grasp_set import GraspSet
from udg_datagen.synthesis import GraspObject, SynthesisConfig, robot_hand, synthesize
from udg_datagen.validation.validation import ValidationConfig, validate
from udg_sim.objects.library import ObjectLibrary


def main(path: str, longest_m: float, candidates: int = 100) -> GraspSet:
    model = ObjectLibrary().get(f"{path}@{longest_m}")  # repaired, its mass and resting poses computed
    grasps = synthesize(
        GraspObject.from_model(model),
        robot_hand("right"),
        SynthesisConfig(strategy="tripod", n_candidates=candidates),
        T_table_object=model.stable_poses[0],
        seed=0,
    )
    if not len(grasps):
        raise SystemExit(f"no grasp: {grasps.reason}")
    best = grasps.take(range(min(5, len(grasps))))  # lowest energy first
    report = validate(best, model, ValidationConfig(rule="six_axis", mass_kg=0.1, friction=0.6))
    print(f"{len(grasps)} grasps; of the best {len(best)} {report.held.sum()} hold 0.1 kg along six axes")
    print("joints of the first, closed [rad]:", best.q_grasp[0, 0].round(2))
    best.save("grasps.npz")
    return best


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
