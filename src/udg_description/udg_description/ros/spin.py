"""Start, spin and stop nodes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import rclpy
import rclpy.signals
import rclpy.utilities
from rclpy.context import Context
from rclpy.executors import Executor, ExternalShutdownException, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node

from udg_description.blas import one_blas_thread
from udg_description.environment import prepare_environment
from udg_description.errors import UdgError

LOOK_S = 0.05  # how often it is looked whether the process that started this one is still there
AGAIN_S = 1.0  # then SIGTERM is sent so often until the node ends: rclpy loses one now and then


def run_node(
    make_node: Callable[[], Node | Sequence[Node]], args: Sequence[str] | None = None, threads: int = 1
) -> int:
    """Run a node, or several together, until SIGINT, SIGTERM, SIGHUP, shutdown or the end of its launcher.

    Returns the process's exit code.
    `threads` > 1 spins callback groups side by side. A UdgError, when the node is made or while it runs, is printed as
    one line `error: ...` and gives code 2. A process under nohup outlives its terminal and its parent.
    """
    with _one_interrupt() as interrupt, _ending_with_launcher():
        return _run_node(make_node, args, threads, interrupt)


def _run_node(
    make_node: Callable[[], Node | Sequence[Node]], args: Sequence[str] | None, threads: int, interrupt: _Interrupt
) -> int:
    try:
        prepare_environment()
    except UdgError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    one_blas_thread()
    rclpy.init(args=None if args is None else list(args))
    nodes: Sequence[Node] = ()
    executor: Executor = SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(threads)
    try:
        made = make_node()
        nodes = [made] if isinstance(made, Node) else made
        for node in nodes:
            executor.add_node(node)
        interrupt.raises = False
        executor.spin()  # ends by itself: rclpy's own handler shuts its context down
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except UdgError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError:
        if rclpy.ok():
            raise  # else: SIGINT came between the waiting and the taking of a message, which rclpy does not expect
    finally:
        interrupt.raises = False
        rclpy.signals.uninstall_signal_handlers()  # ends a thread that uses guard conditions while they are destroyed
        executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.utilities.try_shutdown()
    return 0


class _Interrupt:
    """Handler of SIGINT and SIGTERM: raises KeyboardInterrupt at most once, and not at all when `raises` is false.

    A terminal, the launch system and a launcher's clean-up each send one. Python's own handler of SIGINT would raise in
    whatever line runs when the second one comes, in the clean-up most of all; SIGTERM would end the process there.
    """

    def __init__(self) -> None:
        self.raises = True
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if self.raises:
            self.raises = False
            raise KeyboardInterrupt


@contextmanager
def _one_interrupt() -> Iterator[_Interrupt]:
    """Take SIGINT and SIGTERM by an `_Interrupt` while the block runs, where they are not ignored.

    Once one has come, they are ignored from then on: the end is under way.
    """
    interrupt = _Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, interrupt)
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if interrupt.came else handler)


@contextmanager
def _ending_with_launcher() -> Iterator[None]:
    """Take SIGHUP, and the end of the process that started this one, for SIGTERM: no orphan continues moving a robot.

    A thread waits for SIGHUP, because a handler would not wake rclpy. The other threads, and workers started
    meanwhile, have it blocked: their parent ends them in order.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        yield
        return
    parent, ended = os.getppid(), threading.Event()

    def watch() -> None:
        while not ended.is_set():
            if signal.sigtimedwait({signal.SIGHUP}, LOOK_S) is not None or os.getppid() != parent:
                break
        while not ended.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
            ended.wait(AGAIN_S)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    thread = threading.Thread(target=watch, name="launcher", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class BackgroundSpin:
    """Nodes that one thread spins; keeps the error that ended it, if any."""

    def __init__(self, nodes: Sequence[Node], executor: Executor) -> None:
        self.error: BaseException | None = None
        self.stopped = threading.Event()
        self._executor = executor
        self._ending = False
        for node in nodes:
            executor.add_node(node)
        names = ", ".join(node.get_name() for node in nodes)
        self._thread = threading.Thread(target=self._spin, name=f"spin {names}", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except BaseException as error:  # re-raised in the thread that waits for this one
            if not self._ending:  # a callback under way at the shutdown finds half of rclpy gone
                self.error = error
        finally:
            self.stopped.set()

    def shutdown(self) -> None:
        """Stop spinning and wait for the thread."""
        self._ending = True
        self._executor.shutdown()
        self._thread.join(timeout=5.0)

    def check(self) -> None:
        """Raise the error that ended the spinning, if any."""
        if self.error is not None:
            raise self.error


@contextmanager
def background_spin(*nodes: Node, context: Context | None = None) -> Iterator[BackgroundSpin]:
    """Spin `nodes` in one thread of their own while the block runs; destroy them after it.

    Raises at the end what a callback raised in the thread.
    """
    spin = BackgroundSpin(nodes, SingleThreadedExecutor(context=context))
    try:
        yield spin
    finally:
        spin.shutdown()
        for node in nodes:
            node.destroy_node()
    spin.check()
