"""What runs at once: the driver's only threads and locks, and how callers wait for one another."""

from concurrent.futures import Future
from threading import Condition, Lock

from csi_driver.inflight.channel import Channel, ChannelClosed
from csi_driver.inflight.flights import Flights
from csi_driver.inflight.locks import KeyedLocks, Slots
from csi_driver.inflight.pool import Pool
from csi_driver.inflight.precedence import Precedence
from csi_driver.inflight.threads import every, lasting, rpc_executor, spawn
from csi_driver.inflight.throttle import Throttle
from csi_driver.inflight.waiting import Deadline, Dropped, Stop, Wait

__all__ = ["Channel", "ChannelClosed", "Condition", "Deadline", "Dropped", "Flights", "Future", "KeyedLocks", "Lock",
           "Pool", "Precedence", "Slots", "Stop", "Throttle", "Wait", "every", "lasting", "rpc_executor",
           "spawn"]  # fmt: skip
