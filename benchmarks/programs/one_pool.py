"""A ``harvester`` whose accounts share all connections: what a pool keyed by server would be."""

from __future__ import annotations

from harvester.cli import main
from harvester.scheduling import ready_accounts
from harvester.wechat import account_calls
from harvester.wechat.connection_pool import ConnectionPool, PooledConnection


class OnePool(ConnectionPool):
    """A pool that takes all accounts for one."""

    def take_idle(self, account: str) -> PooledConnection | None:
        """Return any connection."""
        del account
        return super().take_idle("")

    def give_back(self, account: str, pooled: PooledConnection) -> None:
        """Keep a connection for any account."""
        del account
        super().give_back("", pooled)


if __name__ == "__main__":
    ready_accounts.MIN_COHORT = 10**9
    account_calls.ConnectionPool = OnePool  # type: ignore[attr-defined]
    main()
