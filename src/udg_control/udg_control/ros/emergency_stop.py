"""The emergency stop by topic and by service: whoever publishes it, with whatever quality of service, is heard."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from udg_description.ros import topics

DEPTH = 10  # a stop that is taken back at once must be seen, too
HEARD = (  # a subscription is matched by publishers that offer at least what it asks for
    (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),  # every publisher, from now on
    (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE),  # every reliable one, without loss
    (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),  # what latched ones said before
)


def heard(depth: int) -> list[dict[str, Any]]:
    """Arguments of the subscriptions that together hear every publisher; a message may come over several of them."""
    return [
        {
            "qos_profile": QoSProfile(
                history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability
            ),
            # A publisher that one of them does not match is no news: another one does.
            "event_callbacks": SubscriptionEventCallbacks(incompatible_qos=lambda _: None),
        }
        for reliability, durability in HEARD
    ]


class EmergencyStop:
    """Listens to /emergency_stop and serves /control/emergency_stop.

    True stops, and holds the stop until somebody's last word is false; the service stops once. A message comes over up
    to three subscriptions and counts once, when it first arrives.
    """

    def __init__(
        self,
        node: Node,
        on_stop: Callable[[bool], None],
        on_release: Callable[[], None],
        group: CallbackGroup | None = None,
    ) -> None:
        """`on_stop` is called with whether the stop is held, `on_release` when it is held no longer."""
        self.held = False
        self._held_since = 0  # source timestamp [ns] of the newest true
        self._node, self._on_stop, self._on_release = node, on_stop, on_release
        self._seen: deque[tuple[int, bool]] = deque(maxlen=100)
        topic = topics.EMERGENCY_STOP
        for options in heard(DEPTH):
            node.create_subscription(topic.type, topic.name, self._on_message, callback_group=group, **options)
        service = topics.CONTROL_EMERGENCY_STOP
        node.create_service(service.type, service.name, self._serve, callback_group=group)

    def _on_message(self, message: Bool, info: Any) -> None:  # noqa: ANN401 - rclpy's MessageInfo is a dictionary
        key = (int(info["source_timestamp"]), bool(message.data))
        if key in self._seen and key[0] > 0:
            return
        self._seen.append(key)
        if message.data:
            self.held, self._held_since = True, max(self._held_since, key[0])
            self._on_stop(True)
        elif self.held and 0 < key[0] <= self._held_since:  # one that was kept for late subscribers
            self._node.get_logger().warning(f"{topics.EMERGENCY_STOP.name}: a false older than the stop; it is held on")
        elif self.held:
            self.held = False
            self._on_release()

    def _serve(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._on_stop(self.held)
        response.success, response.message = True, "stopped"
        return response
