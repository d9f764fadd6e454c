"""Accounts of a silent life: traffic, articles and followers of each on a day.

A *guide* is a table that tells whether another one has rows. Guides and tables agree, but for those
of one account of twenty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from harvester.core.calendar import Day, date_of
from tests.support.wechat_life import Life, mixed, number_of

_SATURDAY = 5


class Role(NamedTuple):
    """Habits of an account. Shares of days are in hundredths, ``publishes`` is in days.

    ``frozen`` has days without any row, and ``asleep`` days on which only followers are counted.
    """

    number: int
    begin: Day
    joins: Day = 0
    traffic: int = 98
    messages: int = 90
    followers: int = 97
    works: bool = False
    publishes: int = 1
    asleep: range = range(0)
    frozen: range = range(0)
    lies: bool = False


@dataclass
class SilentAccounts(Life):
    """The accounts of a life whose first run is on the day ``first``."""

    first: Day = 0
    _roles: dict[str, Role] = field(default_factory=dict)

    def role(self, appid: str) -> Role:
        """Return what an account does."""
        if appid not in self._roles:
            self._roles[appid] = self._role_of(number_of(appid))
        return self._roles[appid]

    def _role_of(self, number: int) -> Role:
        established = self.begin - 400
        role = Role(
            number,
            established,
            traffic=(98, 85, 60, 20)[number % 4],
            messages=0 if number % 15 == 9 else (95, 60, 30, 10)[number % 4],
            followers=(97, 97, 85, 50)[number % 4],
            works=number % 5 == 1,
            publishes=(1, 7, 7, 30, 30)[number % 5],
            lies=number % 20 == 7,
        )
        if self.calm:
            return role
        place = mixed(self.seed, number, 7) % 1000 / 1000
        match number % 10:
            case 3:
                begin = self.at(0.1 + 0.6 * place)
                return role._replace(begin=begin, joins=begin + 2)
            case 8:
                return role._replace(joins=self.at(0.1 + 0.6 * place))
            case 5:
                slept = self.at(0.1 + 0.5 * place)
                return role._replace(asleep=range(slept, slept + self._lasting(0.15 + 0.2 * place)))
        match number % 60:
            case 6:
                return role._replace(
                    frozen=range(self.at(0.72), self.at(0.72) + self._lasting(0.13))
                )
            case 36:
                return role._replace(frozen=range(self.at(0.9), self.at(9.0)))
        return role

    def at(self, share: float) -> Day:
        """Return the day on which a share of the mornings is over."""
        return self.first + self._lasting(share)

    def _lasting(self, share: float) -> int:
        return int(share * (self.begin + self.days - self.first))

    def joins(self, appid: str) -> Day:
        """Return the day from which an account is in the manifest."""
        return self.role(appid).joins

    def is_busy(self, role: Role, day: Day) -> bool:
        """Return whether people read and write on a day."""
        is_away = day in role.asleep or any(day in holiday for holiday in self.holidays)
        return self._exists(role, day) and not is_away

    @staticmethod
    def _exists(role: Role, day: Day) -> bool:
        return day >= role.begin and day not in role.frozen

    def callbacks(self, role: Role, day: Day) -> int:
        """Return how often the account's server was asked."""
        share = 10 if role.works and date_of(day).weekday() >= _SATURDAY else role.traffic
        return self._count(role, day, 61, share)

    def messages(self, role: Role, day: Day) -> int:
        """Return how many messages people sent."""
        return self._count(role, day, 67, role.messages)

    def _count(self, role: Role, day: Day, salt: int, share: int) -> int:
        chance = mixed(role.number, day, self.seed + salt)
        return 1 + chance // 100 % 400 if chance % 100 < share and self.is_busy(role, day) else 0

    def follows(self, role: Role, day: Day) -> bool:
        """Return whether followers were gained or lost."""
        share = 50 if day in role.asleep else role.followers
        return self._exists(role, day) and mixed(role.number, day, self.seed + 71) % 100 < share

    def publishes(self, role: Role, day: Day) -> bool:
        """Return whether an article was published."""
        if role.publishes > 1:
            is_due = (day + role.number) % role.publishes == 0
        else:
            is_due = mixed(role.number, day, self.seed + 73) % 10 < 7
        return is_due and self.is_busy(role, day)

    def read(self, role: Role, day: Day, days: int) -> list[Day]:
        """Return when the articles were published that people read on a day."""
        if not self.is_busy(role, day):
            return []
        return [each for each in range(day, day - days, -1) if self.publishes(role, each)]

    def told(self, count: int, role: Role, day: Day, salt: int) -> int:
        """Return what a guide says of a count: on one day of three the contrary if it lies."""
        is_lie = role.lies and self.is_busy(role, day) and mixed(role.number, day, salt) % 3 == 0
        return count if not is_lie else 0 if count else 3

    def has_zero(self, role: Role, day: Day) -> bool:
        """Return whether a guide has a row that counts nothing."""
        return self.is_busy(role, day) and mixed(role.number, day, self.seed + 79) % 20 == 0
