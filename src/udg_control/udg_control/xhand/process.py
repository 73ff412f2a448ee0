"""The process of one hand: holds the vendor's library, which can block and end its process. Started by `XHand`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from udg_control.command_check import first_refusal, refusal
from udg_control.device import Fault, Phase
from udg_control.shared_memory import FAULTS, PHASES
from udg_control.worker import Order, ask_for_real_time, serve
from udg_control.xhand import codes
from udg_control.xhand.config import XHandConfig
from udg_control.xhand.heat import MotorHeat
from udg_control.xhand.sdk import Hand, SdkError, load_sdk
from udg_control.xhand.shared import Command, HandMemory, Joints, Report
from udg_control.xhand.start import Start
from udg_description.clock import NS_PER_S
from udg_description.layout import HAND_JOINTS, part_indices
from udg_description.limits import joint_limits

DISTAL, THUMB_ROTA = (5, 7, 9, 11), (1, 2)  # places of these joints in the hand
BROKEN_IN_A_ROW = 2  # replies of a broken link, so that one garbled answer does not end it
RATE_WINDOW_S = 1.0
EXIT_ENDED, EXIT_REFUSED, EXIT_LINK, EXIT_ERROR = 0, 3, 4, 5


class HandProcess:
    """One hand, from opening to the end."""

    def __init__(self, start: Start, config: XHandConfig, shared: HandMemory) -> None:
        """Nothing is open yet."""
        self._start, self._config, self._shared = start, config, shared
        where = part_indices(f"{start.side}_hand")
        self._lower, self._upper = joint_limits().lower[where], joint_limits().upper[where]
        self._least, self._most = self._lower.copy(), self._upper.copy()  # of this hand, inside those
        self._least[list(DISTAL)] = np.maximum(self._least[list(DISTAL)], config.distal_least_rad)
        self._most[list(THUMB_ROTA)] = np.minimum(self._most[list(THUMB_ROTA)], config.thumb_most_rad)
        self.asked_to_end = False
        self._closes = False  # control asked to end, after it has stopped everything
        self._hand: Hand | None = None
        self._phase = Phase.CONNECTING
        self._fault: Fault | None = None
        self._fault_ns = self._stamp_ns = 0
        self._order = 0
        self._target: np.ndarray | None = None  # None: nothing was commanded yet, the hand is in mode 0
        self._taken: np.ndarray | None = None  # the last target that the hand did not refuse
        self._joints: Joints | None = None
        self._armed_ns = self._heard_ns = 0  # got ready; the last clean reply, or a new start of waiting for one
        self._last: Command | None = None  # the newest command since READY
        self._exchanges = self._crc_errors = self._other_errors = self._over_currents = self._stalls = 0
        self._out_of_range = 0
        self._too_far = ""  # which joint's target the hand has refused last
        self._code = 0
        self._message = ""
        self._broken = 0
        self._heat = MotorHeat(1e-3 * config.over_current_ma, config.over_current_s)
        self._measured_s = time.monotonic()
        self._window = (time.monotonic(), 0)
        self._clean = 0
        self._rate_hz = 0.0
        self._advisory = ""

    # --- life -------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Open and serve until the end; returns the exit code."""
        ask_for_real_time(self._config.real_time_priority)
        self._report()
        try:
            self._hand = Hand(load_sdk(self._config.sdk_module), self._start.side, self._config, self._alive)
            self._wait_for_state()
        except SdkError as error:
            self._enter_fault(Fault.WRONG_DEVICE if error.wrong_device else Fault.NOT_CONNECTED, str(error))
            return EXIT_REFUSED
        hand = self._hand
        self._shared.identity.put(f"{hand.port}|{hand.serial_number}|{hand.version}")
        self._phase = Phase.STOPPED
        if self._start.arm:
            self._arm()
        self._report()
        try:
            return self._loop(hand)
        except Exception as error:  # whatever it is: say so; the hand keeps what it holds
            self._enter_fault(Fault.WORKER_DIED, f"error in the hand's process: {error!r}")
            hand.close()
            return EXIT_ERROR

    def _loop(self, hand: Hand) -> int:
        period_s = 1.0 / self._config.rate_hz
        next_s = time.monotonic()
        while not self.asked_to_end and os.getppid() == self._start.parent:
            next_s = max(next_s + period_s, time.monotonic())
            self._take_order()
            if self._phase is Phase.READY:
                self._take_command()
            self._exchange(hand)
            self._judge()
            if self._phase is Phase.ARMING and self._code in codes.STATE_VALID:
                self._get_ready()
                self._exchange(hand)  # the first target is where the joints are
                self._armed_ns = time.monotonic_ns()
            self._report()
            if self._fault is Fault.LINK_LOST:
                return EXIT_LINK  # without a word to the library, which may abort over a port that has gone
            time.sleep(max(0.0, next_s - time.monotonic()))
        if self._closes:
            hand.release()
        else:  # control has died, or a signal came: the arms may still be moving, and the hand may hold something
            hand.close()
        return EXIT_ENDED

    def _wait_for_state(self) -> None:
        """Wait for the first clean reply: those right after opening are often garbled. Raises SdkError."""
        assert self._hand is not None
        deadline_s = time.monotonic() + 0.5 * self._config.connect_timeout_s
        while self._joints is None:
            self._alive()
            self._exchange(self._hand)
            if time.monotonic() > deadline_s:
                raise SdkError(f"{self._hand.port}: no clean reply, the last one is {self._code} {self._message}")

    def _alive(self) -> None:
        if self.asked_to_end or os.getppid() != self._start.parent:
            os._exit(EXIT_ENDED)  # nothing was commanded yet
        self._report()

    # --- commands ---------------------------------------------------------------------------------------------------

    def _take_order(self) -> None:
        """Do what control has asked for."""
        number, order = self._shared.order()
        if number == self._order:
            return
        self._order = number
        if order is Order.CLOSE:
            self.asked_to_end = self._closes = True
        elif order is Order.STOP and self._phase in (Phase.READY, Phase.ARMING):
            self._phase = Phase.STOPPED  # the last target stays, so that nothing is dropped
        elif order is Order.ARM and self._phase in (Phase.STOPPED, Phase.FAULT):
            self._arm()

    def _arm(self) -> None:
        """Wait for a clean reply; faults that last come again by themselves."""
        self._phase, self._fault, self._last = Phase.ARMING, None, None
        self._too_far = ""
        self._heard_ns = time.monotonic_ns()

    def _get_ready(self) -> None:
        """Hold where the joints are."""
        assert self._joints is not None
        self._target = np.clip(self._joints.q, self._lower, self._upper)
        self._phase = Phase.READY

    def _take_command(self) -> None:
        command = self._shared.command()
        now_ns = time.monotonic_ns()
        if command is None or command.written_ns < self._armed_ns:
            return  # since arming there was none yet
        if command != self._last and self._code != codes.OUT_OF_RANGE:  # after a refusal first what it has taken
            q = np.array(command.q)
            refused = refusal(q, self._lower, self._upper)
            if not refused and self._last is None:
                assert self._target is not None
                refused = first_refusal(q, self._target, self._config.start_step_rad)
            if refused:
                self._enter_fault(Fault.COMMAND_REFUSED, refused)
                return
            self._last, self._target = command, self._inside(q)
        silence_s = (now_ns - command.written_ns) / NS_PER_S
        if silence_s > self._config.command_timeout_s:
            self._enter_fault(Fault.COMMAND_TIMEOUT, f"no command for {silence_s:.3f} s: control died or hangs")

    def _inside(self, q: np.ndarray) -> np.ndarray:
        """Bring q (12,) [rad] inside the hand's own range. What is outside already is not moved by that, only held."""
        assert self._target is not None
        return np.clip(q, np.minimum(self._least, self._target), np.maximum(self._most, self._target))

    # --- the hand ---------------------------------------------------------------------------------------------------

    def _exchange(self, hand: Hand) -> None:
        """Send the target, or only ask before the first one, and take in the reply."""
        began_s = time.monotonic()
        self._code, self._message = hand.poll() if self._target is None else hand.command(self._target)
        stalled = time.monotonic() - began_s > self._config.stall_s
        self._exchanges += 1
        self._stalls += stalled
        self._broken = self._broken + 1 if self._code in codes.LINK_BROKEN else 0
        self._crc_errors += self._code == codes.CRC_ERROR
        self._over_currents += self._code == codes.CURRENT_PROTECTED
        if self._code == codes.OUT_OF_RANGE and self._target is not None:
            self._go_back(self._target)
        if self._code not in codes.STATE_VALID:
            self._other_errors += self._code not in (codes.CRC_ERROR, codes.OUT_OF_RANGE)
            return
        joints = hand.joints(self._code)
        if not np.isfinite(joints.q).all():
            self._code, self._message = codes.CRC_ERROR, "positions that are not finite"
            self._crc_errors += 1
            return
        self._taken = self._target
        if stalled and self._joints is not None:
            return  # who knows when that was measured; the next reply tells
        self._joints = joints
        self._stamp_ns = self._heard_ns = time.monotonic_ns()
        self._shared.put_joints(joints)
        self._clean += 1

    def _go_back(self, refused: np.ndarray) -> None:
        """Hold the last target that the hand has taken; say which joint was furthest from it."""
        self._out_of_range += 1
        if self._taken is not None:
            joint = int(np.argmax(np.abs(refused - self._taken)))
            self._too_far = f"{HAND_JOINTS[joint]} at {refused[joint]:.3f} rad"
            self._target = self._taken

    def _judge(self) -> None:
        """Enter a fault if the replies, or their absence, mean one."""
        if self._phase is Phase.FAULT:
            return
        config, code = self._config, self._code
        text = f"code {code}: {self._message}"
        age_s = (time.monotonic_ns() - self._heard_ns) / NS_PER_S
        if self._broken >= BROKEN_IN_A_ROW:
            self._enter_fault(Fault.LINK_LOST, f"the link to the hand broke ({text}); check the adapter, then re-arm")
        elif code == codes.JOINT_OVERHEATED:
            self._enter_fault(Fault.OVER_TEMPERATURE, f"{text}; let the hand cool, then re-arm")
        elif code in codes.REFUSED:
            self._enter_fault(Fault.COMMAND_REFUSED, f"the hand refuses the command ({text})")
        elif age_s > config.state_timeout_s and code == codes.CRC_ERROR:
            self._enter_fault(Fault.BUS_ERROR, f"no clean reply for {age_s:.3f} s ({text}); check cable and grounding")
        elif age_s > config.state_timeout_s and code not in codes.STATE_VALID:
            self._enter_fault(Fault.SILENT, f"no state for {age_s:.3f} s ({text})")
        elif self._joints is not None:
            self._judge_joints(self._joints)

    def _judge_joints(self, joints: Joints) -> None:
        now_s = time.monotonic()
        largest_ma = 1e3 * float(np.abs(joints.current).max())
        hottest_c = float(joints.temperature.max())
        heat = self._heat.update(joints.current, now_s - self._measured_s)
        self._measured_s = now_s
        if hottest_c > self._config.temperature_limit_c:
            self._enter_fault(Fault.OVER_TEMPERATURE, f"a joint has {hottest_c:.0f} deg C; let it cool, then re-arm")
        elif heat.max() >= 1.0:
            joint = int(np.argmax(heat))
            text = f"{HAND_JOINTS[joint]} draws {1e3 * abs(joints.current[joint]):.0f} mA and has for too long; free it"
            self._enter_fault(Fault.OVER_CURRENT, f"{text}, then re-arm")
            self._target = np.clip(joints.q, self._lower, self._upper)  # press no longer
        advisory = ""
        if self._code == codes.CURRENT_PROTECTED:
            advisory = f"a motor has pressed for long, up to {largest_ma:.0f} mA"
        elif self._code in codes.TACTILE_FAILED:
            advisory = f"the tactile sensors fail ({self._code} {self._message})"
        elif self._too_far:
            advisory = f"the hand has refused {self._too_far} (1501030): check its limits"
        if advisory != self._advisory:
            self._advisory = advisory
            self._shared.advisory.put(advisory)

    def _enter_fault(self, fault: Fault, detail: str) -> None:
        """Latch the fault. The hand keeps its last target."""
        self._phase, self._fault, self._fault_ns = Phase.FAULT, fault, time.monotonic_ns()
        self._last = None
        self._shared.detail.put(detail)
        self._report()

    def _report(self) -> None:
        now_ns = time.monotonic_ns()
        since_s = now_ns / NS_PER_S - self._window[0]
        if since_s >= RATE_WINDOW_S:
            self._rate_hz = (self._clean - self._window[1]) / since_s
            self._window = (now_ns / NS_PER_S, self._clean)
        self._shared.put_report(
            Report(
                now_ns,
                self._stamp_ns if self._joints is not None else 0,
                self._fault_ns,
                PHASES.index(self._phase),
                -1 if self._fault is None else FAULTS.index(self._fault),
                self._order,
                self._exchanges,
                self._crc_errors,
                self._other_errors,
                self._over_currents,
                self._stalls,
                self._out_of_range,
                self._code,
                self._rate_hz,
                float(self._heat.share.max()),
            )
        )


def main(argv: Sequence[str]) -> NoReturn:
    """Run the hand that the argument (JSON of `Start`) describes."""
    start = Start(**json.loads(argv[0]))
    tuples = {name: tuple(start.config[name]) for name in ("ports", "thumb_most_rad")}
    serve(HandProcess(start, XHandConfig(**{**start.config, **tuples}), HandMemory(start.descriptor)))


if __name__ == "__main__":
    main(sys.argv[1:])
