"""How the emulated arm moves: servo with lag, point-to-point, speed, braking. Joint space, one step per call.

The numbers are assumptions that make a UR5e plausible (it lags a servo target by about 40 ms at lookahead 0.03 s and
gain 2000, by about 130 ms at 0.1 s and 300); nobody has fitted them to an arm.
"""

from __future__ import annotations

import numpy as np

MAX_SPEED = np.pi  # [rad/s], data sheet
MAX_ACCELERATION = 25.0  # [rad/s^2]
STOP_DECELERATION = 25.0  # [rad/s^2] of the safety system
STANDSTILL = 1e-3  # [rad/s]
SERVO_STIFFNESS = 4.0  # natural frequency [rad/s] by the square root of the gain


class JointMotion:
    """Six joints with limited speed and acceleration."""

    def __init__(self, q: np.ndarray) -> None:
        """Stand still at q (6,) [rad]."""
        self.q = np.array(q, dtype=np.float64)
        self.qd = np.zeros(6)
        self.q_target = self.q.copy()  # what the controller calls target_q
        self.jammed = False
        self.speed_fraction = 1.0  # the slider on the pendant: servo targets are approached so much slower
        self.speed_fraction = 1.0  # the slider: time passes the slower for a joint that follows targets
        self._reference = self.q.copy()
        self._lookahead_s, self._omega = 0.1, 0.0
        self._qd_wanted = np.zeros(6)
        self._acceleration = STOP_DECELERATION
        self._path: tuple[np.ndarray, np.ndarray, float, float, float] | None = None
        self._path_time_s = 0.0
        self._mode = "brake"

    @property
    def still(self) -> bool:
        """Whether no joint moves."""
        return bool(np.abs(self.qd).max() < STANDSTILL)

    @property
    def servoing(self) -> bool:
        """Whether the joints follow a servo target."""
        return self._mode == "servo"

    @property
    def finished(self) -> bool:
        """Whether a movement from point to point has ended."""
        return self._path is None

    def servo(self, q: np.ndarray, lookahead_s: float, gain: float) -> None:
        """Follow the target q (6,) [rad]."""
        if self._mode != "servo":
            self._reference = self.q.copy()
            self._mode = "servo"
            self._path = None
        self.q_target = q
        self._lookahead_s, self._omega = lookahead_s, SERVO_STIFFNESS * gain**0.5

    def brake(self, deceleration: float = STOP_DECELERATION) -> None:
        """Come to rest."""
        self._mode = "brake"
        self._acceleration = max(deceleration, 0.1)
        self._path = None

    def speed(self, qd: np.ndarray, acceleration: float) -> None:
        """Move with qd (6,) [rad/s]."""
        self._mode, self._qd_wanted, self._acceleration = "speed", qd, max(acceleration, 0.1)
        self._path = None

    def move(self, q: np.ndarray, speed: float, acceleration: float) -> None:
        """Move in a straight line of joint space to q (6,) [rad], trapezoidal in time."""
        way = float(np.abs(q - self.q).max())
        speed = min(max(speed, 1e-3), MAX_SPEED, (way * max(acceleration, 1e-3)) ** 0.5) or 1e-3
        self._path = (self.q.copy(), np.array(q), way, speed, max(acceleration, 1e-3))
        self._path_time_s = 0.0
        self._mode = "move"

    def step(self, dt_s: float) -> None:
        """Let dt_s pass."""
        if self.jammed:
            self.qd = np.zeros(6)
            return
        if self._mode == "servo":
            self._step_servo(dt_s)
        elif self._mode == "move":
            self._step_move(dt_s)
        else:
            wanted = self._qd_wanted if self._mode == "speed" else 0.0
            most = self._acceleration * dt_s
            self.qd = self.qd + np.clip(wanted - self.qd, -most, most)
            self.q = self.q + self.qd * dt_s
            self.q_target = self.q

    def _step_servo(self, dt_s: float) -> None:
        slow_s = dt_s * self.speed_fraction
        self._reference = self._reference + (self.q_target - self._reference) * (slow_s / (self._lookahead_s + slow_s))
        omega = min(self._omega, 0.5 / dt_s)
        acceleration = omega * (omega * (self._reference - self.q) - 2.0 * self.qd)
        acceleration = np.minimum(np.maximum(acceleration, -MAX_ACCELERATION), MAX_ACCELERATION)
        self.qd = np.minimum(np.maximum(self.qd + acceleration * dt_s, -MAX_SPEED), MAX_SPEED)
        self.q = self.q + self.qd * dt_s

    def _step_move(self, dt_s: float) -> None:
        assert self._path is not None
        start, end, way, speed, acceleration = self._path
        self._path_time_s += dt_s
        ramp_s = speed / acceleration
        total_s = way / speed + ramp_s
        t, rest = self._path_time_s, total_s - self._path_time_s
        if rest <= 0.0 or way == 0.0:
            q, self._path, self._mode = end.copy(), None, "brake"
            self.qd = np.zeros(6)
        else:
            if t < ramp_s:
                done = 0.5 * acceleration * t * t
            elif rest < ramp_s:
                done = way - 0.5 * acceleration * rest * rest
            else:
                done = speed * (t - 0.5 * ramp_s)
            q = start + (end - start) * (done / way)
            self.qd = (q - self.q) / dt_s
        self.q = q
        self.q_target = q
