"""What the error codes of the XHand SDK (1.1) mean for the driver."""

from __future__ import annotations

OK = 0
JOINT_OVERHEATED = 1501028
MODE_REFUSED = 1501029
OUT_OF_RANGE = 1501030
CURRENT_PROTECTED = 1501035  # the hand's own advisory: a motor presses for long; it still follows
OPEN_FAILED = 1501039
SERIAL_ERROR = 1501050
CRC_ERROR = 1501070

TACTILE_FAILED = frozenset({1501018, 1501019, 1501020})  # the fingertips' data are not valid, the joints' are
STATE_VALID = frozenset({OK, CURRENT_PROTECTED}) | TACTILE_FAILED
LINK_BROKEN = frozenset({OPEN_FAILED, SERIAL_ERROR, 1501038})
REFUSED = frozenset({MODE_REFUSED})
