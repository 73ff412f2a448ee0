"""The XHand hands over the vendor's SDK: one supervised process each."""

from udg_control.xhand.config import XHandConfig
from udg_control.xhand.hand import XHand

__all__ = ["XHand", "XHandConfig"]
