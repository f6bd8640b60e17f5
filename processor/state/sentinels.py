"""The Sentinels, whom each new connection asks where the primary is."""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import RedisError as ClientError
from redis.sentinel import MasterNotFoundError, Sentinel

from processor.errors import OrderFactsError
from processor.state.cluster_map import Host


class Sentinels(Sentinel):
    """As redis-py's, which ends its search at the first one that answers with an error.

    `may_change` says that their password comes from a file: one that is refused is waited for.
    """

    def __init__(self, hosts: Sequence[Host], options: dict[str, Any], *, may_change: bool) -> None:
        super().__init__(hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        self._may_change = may_change

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the primary's host and port. Raises MasterNotFoundError, or a refusal if all that answer refuse."""
        problems, refusals, has_answer = list[str](), list[ClientError](), False
        for number, sentinel in enumerate(self.sentinels):
            try:
                masters: Any = sentinel.sentinel_masters()
            except (AuthenticationError, NoPermissionError) as error:
                refusals.append(error)
                problem = str(error)
            except (ClientError, OrderFactsError) as error:
                problem = str(error)
            else:
                has_answer, found = True, masters.get(service_name)
                if found and self.check_master_state(found, service_name):  # type: ignore[no-untyped-call]
                    self.sentinels[0], self.sentinels[number] = sentinel, self.sentinels[0]
                    return found["ip"], found["port"]
                problem = "it is down" if found else "it is not known"
            at = sentinel.connection_pool.connection_kwargs
            problems.append(f"{at['host']}:{at['port']}: {problem}")
        if refusals and not has_answer and not self._may_change:
            raise refusals[0]
        raise MasterNotFoundError(f"no Sentinel names a primary {service_name!r} ({'; '.join(problems)})")
