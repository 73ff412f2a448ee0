"""A lifecycle node for hardware: starts by itself, works in a thread while active, survives wrong requests."""

from __future__ import annotations

import threading
from typing import Any

from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState
from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # its place in Humble and Jazzy
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from udg_description.clock import NS_PER_S

RETRY_S = 2.0


class SteadyLifecycleNode(LifecycleNode):
    """Refuses a transition that its state does not allow, and says which are; rclpy ends the node over one.

    A node adds `configure`, `pause` and `release`. Every way down ends in `release`.
    """

    def __init__(self, name: str, **options: Any) -> None:  # noqa: ANN401 - those of rclpy's node
        super().__init__(name, **options)
        self._ask_state = self._service_of(GetState).callback
        self._ask_transitions = self._service_of(GetAvailableTransitions).callback
        service = self._service_of(ChangeState)
        self._change = service.callback
        service.callback = self._change_or_refuse
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()  # set while the thread should end
        self._left_over: threading.Thread | None = None  # has not ended in time; it would go on with the next one

    # --- what a node adds -------------------------------------------------------------------------------------------

    def configure(self) -> bool:
        """Open the hardware, without motion; say why not."""
        raise NotImplementedError

    def run(self) -> None:
        """Work while active, in its own thread, until `_ending` is set."""
        raise NotImplementedError

    def pause(self) -> None:
        """Stop what `run` does, whatever the state."""
        self._end_thread()

    def release(self) -> None:
        """Stop and release the hardware, whatever the state; the node may be configured again."""
        raise NotImplementedError

    # --- transitions ------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the hardware; on failure, or as long as an earlier thread has not ended, stay unconfigured."""
        del state
        if self._is_left_over():
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS if self.configure() else TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to work; refused as long as an earlier thread has not ended."""
        if self._is_left_over():
            return TransitionCallbackReturn.FAILURE
        self._ending.clear()
        self._thread = threading.Thread(target=self.run, name=self.get_name(), daemon=True)
        self._thread.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Work no longer; the hardware stays open."""
        self.pause()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the hardware."""
        return self._released(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the hardware."""
        return self._released(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release the hardware."""
        return self._released(state)

    def destroy_node(self) -> None:
        """Release the hardware, whatever the state."""
        self.release()
        super().destroy_node()

    def _released(self, state: LifecycleState) -> TransitionCallbackReturn:
        del state
        self.release()
        return TransitionCallbackReturn.SUCCESS

    def _is_left_over(self) -> bool:
        """Whether an earlier thread has not ended yet; said if so."""
        if self._left_over is not None and self._left_over.is_alive():
            self.get_logger().error("refused: what it did before has not ended; it waits for the hardware")
            return True
        self._left_over = None
        return False

    def _end_thread(self, longest_s: float = 5.0) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout=longest_s)
            if self._thread.is_alive():
                self._left_over = self._thread
            self._thread = None

    # --- requests ---------------------------------------------------------------------------------------------------

    def _service_of(self, kind: type) -> Any:  # noqa: ANN401 - rclpy is untyped
        return next(service for service in self.services if service.srv_type is kind)

    @property
    def lifecycle_state(self) -> str:
        """Name of the state: "unconfigured", "inactive", "active", ..."""
        return self._ask_state(GetState.Request(), GetState.Response()).current_state.label

    def _change_or_refuse(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        wanted = request.transition
        answer = self._ask_transitions(GetAvailableTransitions.Request(), GetAvailableTransitions.Response())
        valid = {found.transition.id: found.transition.label for found in answer.available_transitions}
        if wanted.label in valid.values() or (not wanted.label and wanted.id in valid):
            try:
                return self._change(request, response)
            except RuntimeError:  # rclpy's RCLError is one: another transition was faster
                if not self.context.ok():
                    raise
        name, choices = wanted.label or f"number {wanted.id}", ", ".join(valid.values()) or "none"
        self.get_logger().error(f"no transition {name} from '{self.lifecycle_state}'; valid: {choices}")
        response.success = False
        return response

    def start_by_itself(self, group: CallbackGroup | None = None) -> None:
        """Configure and activate; as long as that fails, again after a while, unless the operator takes it in hand."""
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._starter = self.create_timer(0.0, self._try_to_start, callback_group=group, clock=steady)

    def _try_to_start(self) -> None:
        self._starter.timer_period_ns = round(RETRY_S * NS_PER_S)
        try:
            if self.lifecycle_state != "unconfigured":
                self._starter.cancel()
            elif self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
                self._starter.cancel()
                self.trigger_activate()
        except RuntimeError as error:  # a transition that was asked for at the same time
            if not self.context.ok():
                raise
            self._starter.cancel()
            self.get_logger().warning(f"starts no more by itself: {error}")
