"""Whether replicas share generations: the arms of `settings.flights`."""

from __future__ import annotations

import time

from chassis.breaker import OPTIONAL, Breaker
from chassis.telemetry import Telemetry
from orchestrator.board import BoardUnavailable
from orchestrator.metrics import FLIGHTS
from orchestrator.relay.flying import FlightRelay, Role
from orchestrator.relay.guarded import GuardedFlightBoard
from orchestrator.settings import OrchestratorSettings
from orchestrator.shared import SharedRedis


def open_relay(settings: OrchestratorSettings, telemetry: Telemetry, shared: SharedRedis | None) -> FlightRelay | None:
    """The relay between replicas, its board behind a breaker; None where each makes its own answers."""
    match settings.flights:
        case "local":
            return None
        case "redis":
            assert shared is not None, "opened for whoever says redis"
            return _over_redis(shared, telemetry)


def _over_redis(shared: SharedRedis, telemetry: Telemetry) -> FlightRelay:
    from orchestrator.relay.redis import RedisFlightBoard  # noqa: PLC0415  # with askmesh[cluster] only

    telemetry.declare(FLIGHTS)
    breaker = Breaker("flights", error=BoardUnavailable, thresholds=OPTIONAL, telemetry=telemetry)
    board = GuardedFlightBoard(RedisFlightBoard(shared.client, shared.secret), breaker)

    def count(role: Role) -> None:
        telemetry.counter(FLIGHTS).labels(role.value).inc()

    return FlightRelay(board, time.monotonic, count)
