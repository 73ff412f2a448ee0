"""The buttons of the view, as topics and services."""

from __future__ import annotations

import threading
from typing import TypeVar

from rcl_interfaces.srv import SetParameters
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from udg_description.errors import UdgError
from udg_description.ros import topics

ANSWER_WITHIN_S = 60.0  # an object that is prepared for the first time
Response = TypeVar("Response")


class CommandError(UdgError):
    """A command that was refused, or that nobody answered."""


class RosCommands:
    """Makes clients only for what is allowed. Called by other threads than the one that spins the node."""

    def __init__(self, node: Node, *, allowed: bool, simulated: bool) -> None:
        self._stop = topics.publish(node, topics.EMERGENCY_STOP)
        self._group = ReentrantCallbackGroup()
        self._one_at_a_time = threading.Lock()
        self._triggers: dict[str, Client] = {}
        self._parameters: Client | None = None
        if not allowed:
            return
        services = [topics.POLICY_START, topics.POLICY_STOP, topics.CONTROL_ENABLE, topics.CONTROL_DISABLE]
        if simulated:
            services.append(topics.SIM_RESET)
            self._parameters = node.create_client(SetParameters, "/sim/set_parameters", callback_group=self._group)
        for service in services:
            self._triggers[service.name] = node.create_client(service.type, service.name, callback_group=self._group)

    def stop(self) -> str:
        """Stop the robot, and hold the stop."""
        self._stop.publish(Bool(data=True))
        return "stopped; held until it is released"

    def release(self) -> str:
        """Hold the stop no longer."""
        self._stop.publish(Bool(data=False))
        return "released; control has to be enabled again"

    def start(self) -> str:
        """Enable control, start the policy."""
        with self._one_at_a_time:
            self._call(topics.CONTROL_ENABLE)
            return self._call(topics.POLICY_START)

    def pause(self) -> str:
        """Stop the policy, disable control."""
        with self._one_at_a_time:
            self._call(topics.POLICY_STOP)
            return self._call(topics.CONTROL_DISABLE)

    def reset(self, object_name: str, seed: int) -> str:
        """Begin the simulated trial of an object and a seed, with control enabled and the policy started."""
        with self._one_at_a_time:
            self._call(topics.POLICY_STOP)
            self._call(topics.CONTROL_DISABLE)
            self._choose({"object": object_name, "seed": seed, "trial": 0})
            self._call(topics.CONTROL_ENABLE)
            self._call(topics.POLICY_START)
            return self._call(topics.SIM_RESET)

    def _call(self, service: topics.ServiceName) -> str:
        response = self._answer(self._triggers[service.name], Trigger.Request(), Trigger.Response)
        if not response.success:
            raise CommandError(f"{service.name} refused: {response.message}")
        return response.message

    def _choose(self, values: dict[str, str | int]) -> None:
        assert self._parameters is not None
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        response = self._answer(self._parameters, request, SetParameters.Response)
        for name, result in zip(values, response.results, strict=True):
            if not result.successful:
                raise CommandError(f"the sim node refused {name} = {values[name]!r}: {result.reason}")

    @staticmethod
    def _answer(client: Client, request: object, response_type: type[Response]) -> Response:
        if not client.service_is_ready():
            raise CommandError(f"{client.srv_name} is not available: its node is not running")
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(ANSWER_WITHIN_S):
            raise CommandError(f"{client.srv_name} did not answer within {ANSWER_WITHIN_S:.0f} s")
        response = future.result()
        assert isinstance(response, response_type)
        return response
