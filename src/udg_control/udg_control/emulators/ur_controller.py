"""The network of emulated UR controllers: RTDE, dashboard, script upload and a control channel, in one thread.

Ports are the real ones, hard-coded in the clients, so each arm needs an address of its own: 127.0.0.1 and 127.0.0.2.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Callable
from functools import partial

from udg_control.emulators import ur_fields as rtde
from udg_control.emulators.ur_arm import EmulatedArm
from udg_control.emulators.ur_fields import InputRecipe, OutputRecipe, Package
from udg_control.emulators.ur_log import SERVO_S

RTDE_PORT, DASHBOARD_PORT, SCRIPT_PORT, CONTROL_PORT = 30004, 29999, 30003, 29900
GREETING = "Connected: Universal Robots Dashboard Server\n"
MOST_CYCLES_AT_ONCE = 50  # after a longer pause of this process the emulated time is late
_MOST_UNSENT = 1 << 16  # bytes; a client that reads so slowly is dropped by real controllers, too
_FREQUENCY_HZ = 1.0 / SERVO_S


class Connection:
    """A client; its kind decides what is done with the bytes."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over the socket."""
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.closed = False

    def fileno(self) -> int:
        """File descriptor, for select."""
        return self.sock.fileno()

    def send(self, data: bytes) -> None:
        """Send without waiting; what the socket does not take now goes later."""
        if self.outbox:
            self.outbox += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.closed = True
            return
        if sent < len(data):
            self.outbox += data[sent:]

    def flush(self) -> None:
        """Send what could not be sent before."""
        data, self.outbox = bytes(self.outbox), bytearray()
        self.send(data)

    def receive(self) -> bool:
        """Read what has come; False when the client has gone."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.inbox += data
        return bool(data)

    def handle(self) -> None:
        """Act on what is in the inbox."""

    def close(self, *, reset: bool = False) -> None:
        """Close, by a reset if asked for."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed = True
        self.sock.close()

    def lines(self) -> list[str]:
        """Take the complete lines out of the inbox."""
        *complete, rest = bytes(self.inbox).split(b"\n")
        self.inbox = bytearray(rest)
        return [line.decode("utf-8", "replace") for line in complete]


class RtdeConnection(Connection):
    """RTDE version 2."""

    def __init__(self, sock: socket.socket, controller: UrController) -> None:
        """A client that has asked for nothing yet."""
        super().__init__(sock)
        self._controller, self._arm = controller, controller.arm
        self._outputs: OutputRecipe | None = None
        self._every = 1
        self._inputs: list[InputRecipe] = []
        self._started = False
        self._cycle = 0

    def handle(self) -> None:
        """Answer what was asked."""
        if self._controller.silent:
            self.inbox.clear()
            return
        try:
            packages = rtde.split_packages(self.inbox)
        except ValueError:
            self.closed = True
            return
        for package in packages:
            if package.kind == rtde.DATA:
                self._take_data(package.payload)
            else:
                self._answer(package)

    def _take_data(self, payload: bytes) -> None:
        index = payload[0] - 1 if payload else -1
        if 0 <= index < len(self._inputs):
            recipe = self._inputs[index]
            self._arm.receive(recipe, recipe.unpack(payload[1:]))

    def _answer(self, package: Package) -> None:
        if package.kind == rtde.REQUEST_VERSION:
            answer = bytes([package.payload == b"\x00\x02"])
        elif package.kind == rtde.GET_CONTROLLER_VERSION:
            answer = struct.pack(">4I", *self._arm.config.controller.version)
        elif package.kind == rtde.SETUP_OUTPUTS:
            answer = self._set_up_outputs(package.payload)
        elif package.kind == rtde.SETUP_INPUTS:
            recipe = InputRecipe([name for name in package.payload.decode().split(",") if name])
            self._inputs.append(recipe)
            answer = bytes([len(self._inputs)]) + ",".join(recipe.types).encode()
        elif package.kind in (rtde.START, rtde.PAUSE):
            self._started = package.kind == rtde.START and self._outputs is not None
            answer = b"\x01"
        else:
            return
        self.send(rtde.message(package.kind, answer))

    def _set_up_outputs(self, payload: bytes) -> bytes:
        (frequency_hz,) = struct.unpack_from(">d", payload)
        names = [name for name in payload[8:].decode().split(",") if name]
        recipe = OutputRecipe(1, names, self._arm.outputs)
        self._outputs = recipe
        self._every = max(1, round(_FREQUENCY_HZ / max(frequency_hz, 1.0)))
        self._arm.wants_pose = self._arm.wants_pose or "actual_TCP_pose" in recipe.names
        return b"\x01" + ",".join(recipe.types).encode()

    def tick(self, cycles: int) -> None:
        """Send the data of now, if it is due."""
        if not self._started or self._controller.silent:
            return
        self._cycle += cycles
        if self._cycle >= self._every:
            self._cycle %= self._every
            assert self._outputs is not None
            self.send(self._outputs.packet(self._arm.outputs))


class DashboardConnection(Connection):
    """Lines in, lines out."""

    def __init__(self, sock: socket.socket, controller: UrController) -> None:
        """Greet."""
        super().__init__(sock)
        self._controller = controller
        self.send(GREETING.encode())

    def handle(self) -> None:
        """Answer each line."""
        for line in self.lines():
            if not self._controller.silent and not self._controller.dashboard_silent:
                self.send((self._controller.arm.dashboard(line) + "\n").encode())


class ScriptConnection(Connection):
    """Takes programs; a program ends with a line `end` that is not indented."""

    def __init__(self, sock: socket.socket, controller: UrController) -> None:
        """Nothing uploaded yet."""
        super().__init__(sock)
        self._controller = controller

    def handle(self) -> None:
        """Run what is complete."""
        end = self.inbox.find(b"\nend\n")
        while end >= 0:
            script = bytes(self.inbox[: end + 5]).decode("utf-8", "replace")
            del self.inbox[: end + 5]
            if not self._controller.silent:
                self._controller.arm.upload(script)
            end = self.inbox.find(b"\nend\n")


class ControlConnection(Connection):
    """What tests use: one JSON object a line in, one out (after "log": also raw tables)."""

    def __init__(self, sock: socket.socket, controller: UrController) -> None:
        """Nothing asked yet."""
        super().__init__(sock)
        self._controller = controller

    def handle(self) -> None:
        """Do what each line asks for."""
        for line in self.lines():
            try:
                request = json.loads(line)
                answer, tables = self._controller.control(request)
            except (ValueError, KeyError, TypeError) as error:
                answer, tables = {"error": repr(error)}, b""
            self.send(json.dumps(answer).encode() + b"\n" + tables)


class UrController:
    """One emulated controller on one address."""

    def __init__(self, arm: EmulatedArm, address: str) -> None:
        """Listen. Raises OSError when a port is taken."""
        self.arm, self.address = arm, address
        self.silent = False
        self.dashboard_silent = False
        self.connections: list[Connection] = []
        self.listeners: dict[int, socket.socket] = {}
        self.changes = 0  # of listeners and connections
        self._kinds: dict[int, Callable[[socket.socket, UrController], Connection]] = {
            RTDE_PORT: RtdeConnection,
            DASHBOARD_PORT: DashboardConnection,
            SCRIPT_PORT: ScriptConnection,
            CONTROL_PORT: ControlConnection,
        }
        self._listen_again_s: float | None = None
        if not arm.config.controller.has_dashboard:
            del self._kinds[DASHBOARD_PORT]
        for port in self._kinds:
            self._listen(port)

    def _listen(self, port: int) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.address, port))
        except OSError as error:
            listener.close()
            raise OSError(error.errno, f"{self.address}:{port}: {error.strerror}") from error
        listener.listen(16)
        listener.setblocking(False)
        self.listeners[port] = listener
        self.changes += 1

    def accept(self, port: int) -> None:
        """Take a new client."""
        try:
            sock, peer = self.listeners[port].accept()
        except OSError:
            return
        if port != CONTROL_PORT:
            self.arm.log.event("connect", port=port, peer=peer[1])
        self.connections.append(self._kinds[port](sock, self))
        self.changes += 1

    def serve(self, connection: Connection) -> None:
        """Read and act."""
        alive = connection.receive()
        if connection.inbox:
            connection.handle()
        if not (alive or connection.closed):
            self._drop(connection)

    def tick(self, cycles: int, now_s: float) -> None:
        """Let the arm move on and send its state."""
        if self._listen_again_s is not None and now_s >= self._listen_again_s:
            self._come_back()
        self.arm.step(cycles)
        for connection in self.connections:
            if isinstance(connection, RtdeConnection):
                connection.tick(cycles)
            if len(connection.outbox) > _MOST_UNSENT and not isinstance(connection, ControlConnection):
                connection.closed = True
        for connection in [connection for connection in self.connections if connection.closed]:
            self._drop(connection)

    def _drop(self, connection: Connection, *, reset: bool = False) -> None:
        if not isinstance(connection, ControlConnection):
            self.arm.log.event("disconnect", kind=type(connection).__name__)
        connection.close(reset=reset)
        self.connections.remove(connection)
        self.changes += 1

    # --- faults -----------------------------------------------------------------------------------------------------

    def control(self, request: dict) -> tuple[dict, bytes]:
        """Do what a test asks for. Raises KeyError for what does not exist."""
        what = request["do"]
        if what == "state":
            arm = self.arm
            state = {"q": arm.motion.q.tolist(), "qd": arm.motion.qd.tolist(), "program_running": arm.program_running}
            counts = {"commands": len(arm.log.commands), "events": len(arm.log.events), "cycles": len(arm.log.motion)}
            return {**state, **counts, "safety_mode": arm.safety_mode, "robot_mode": arm.robot_mode}, b""
        if what == "log":
            newest = int(request.get("newest", 0))
            commands, motion = self.arm.log.commands.rows(newest), self.arm.log.motion.rows(newest)
            sizes = {"commands": commands.nbytes, "motion": motion.nbytes}
            return {"events": self.arm.log.events, **sizes}, commands.tobytes() + motion.tobytes()
        injections: dict[str, Callable[[], None]] = {
            **{name: getattr(self.arm, name) for name in ARM_INJECTIONS},
            "drop_link": self._drop_link,
            "unplug": self._unplug,
            "silent": self._fall_silent,
            "dashboard_silent": self._silence_dashboard,
            "reboot": lambda: self._reboot(float(request.get("seconds", 0.5))),
            "restore": self._restore,
        }
        t_s = time.monotonic()
        injections[what]()
        return {"done": what, "t": t_s}, b""

    def _drop_link(self) -> None:
        """Reset the RTDE connections; new ones are served."""
        self.arm.log.event("drop_link")
        for connection in [c for c in self.connections if isinstance(c, RtdeConnection)]:
            self._drop(connection, reset=True)

    def _unplug(self) -> None:
        """Reset all connections and refuse new ones until `restore`."""
        self.arm.log.event("unplug")
        self._go_away()

    def _go_away(self) -> None:
        for port in [port for port in self.listeners if port != CONTROL_PORT]:
            self.listeners.pop(port).close()
            self.changes += 1
        for connection in [c for c in self.connections if not isinstance(c, ControlConnection)]:
            self._drop(connection, reset=True)

    def _come_back(self) -> None:
        self._listen_again_s = None
        for port in self._kinds:
            if port not in self.listeners:
                self._listen(port)

    def _fall_silent(self) -> None:
        """Connections stay open, nothing is sent, nothing that comes has an effect."""
        self.arm.log.event("silent")
        self.silent = True

    def _silence_dashboard(self) -> None:
        """The dashboard's connections stay open, but nothing is answered any more."""
        self.arm.log.event("dashboard_silent")
        self.dashboard_silent = True

    def _reboot(self, seconds: float) -> None:
        self.arm.log.event("reboot")
        self._go_away()
        self.arm.reboot()
        self._listen_again_s = time.monotonic() + seconds

    def _restore(self) -> None:
        self.silent = self.dashboard_silent = False
        self._come_back()
        self.arm.restore()

    def close(self) -> None:
        """Close all sockets."""
        for connection in list(self.connections):
            connection.close()
        for listener in self.listeners.values():
            listener.close()


ARM_INJECTIONS = (
    "protective_stop",
    "emergency_stop",
    "safeguard_stop",
    "safety_fault",
    "program_stop",
    "local_mode",
    "power_off",
    "jam",
    "slow",
    "fast",
)


def serve(controllers: list[UrController], stopped: Callable[[], bool], each_cycle: Callable[[], None]) -> None:
    """Run the controllers at 500 Hz until `stopped`."""
    clients = _Clients(controllers)
    next_s = time.monotonic()
    while not stopped():
        clients.wait(max(0.0, next_s - time.monotonic()))
        now_s = time.monotonic()
        if now_s < next_s:
            continue
        cycles = int((now_s - next_s) / SERVO_S) + 1
        next_s += cycles * SERVO_S
        for controller in controllers:
            controller.tick(min(cycles, MOST_CYCLES_AT_ONCE), now_s)
        each_cycle()


class _Clients:
    """Waits for clients, with plain select: epoll rounds the time up to milliseconds."""

    def __init__(self, controllers: list[UrController]) -> None:
        self._controllers = controllers
        self._changes = -1
        self._actions: dict[int, Callable[[], None]] = {}
        self._connections: list[Connection] = []

    def wait(self, timeout_s: float) -> None:
        """Serve who has something to say, for at most timeout_s if nobody has."""
        changes = sum(controller.changes for controller in self._controllers)
        if changes != self._changes:
            self._changes = changes
            self._look_up()
        full = [connection for connection in self._connections if connection.outbox]
        ready, ready_to_write, _ = select.select(self._actions.keys(), full, [], timeout_s)
        for connection in ready_to_write:
            connection.flush()
        for descriptor in ready:
            self._actions[descriptor]()
            if sum(controller.changes for controller in self._controllers) != changes:
                return  # descriptors may be others now

    def _look_up(self) -> None:
        self._actions = {}
        self._connections = []
        for controller in self._controllers:
            for port, listener in controller.listeners.items():
                self._actions[listener.fileno()] = partial(controller.accept, port)
            for connection in controller.connections:
                self._actions[connection.fileno()] = partial(controller.serve, connection)
                self._connections.append(connection)
