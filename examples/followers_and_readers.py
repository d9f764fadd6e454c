"""Draw new and lost followers and the sources of readers: a column an account, a point a week.

    python followers_and_readers.py OUTPUT PICTURE.png

OUTPUT is a tree that harvester wrote, with user_summary and biz_summary in it.
"""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any, TypeAlias

import duckdb
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

# A day's total is the sum over all channels, "other" (0) included.
FOLLOWERS = """
WITH found AS (
    SELECT *, date_trunc('week', ref_date)::DATE AS week
    FROM read_parquet(?, hive_partitioning = true)
)
SELECT appid, week, sum(new_user) / 7 AS won, sum(cancel_user) / 7 AS lost
FROM found
WHERE week >= (SELECT min(ref_date) FROM found) AND week + 6 <= (SELECT max(ref_date) FROM found)
GROUP BY appid, week
ORDER BY appid, week
"""

# A person is counted once a day and once a scene, so that neither days nor scenes add up: a week is
# shown by its mean day, and each scene by a line of its own. 全部 stands for all scenes.
READERS = """
WITH found AS (
    SELECT appid, ref_date, date_trunc('week', ref_date)::DATE AS week,
           unnest(read_user_source) AS source
    FROM read_parquet(?, hive_partitioning = true)
)
SELECT appid, source.scene_desc AS scene, week, avg(source.user_count) AS readers
FROM found
WHERE week >= (SELECT min(ref_date) FROM found) AND week + 6 <= (SELECT max(ref_date) FROM found)
  AND source.scene_desc <> '全部'
GROUP BY appid, scene, week
ORDER BY appid, scene, week
"""

# As `harvester datasets biz_summary` translates them.
SCENES = {
    "公众号消息": ("message of the account", "#1b5e8c"),
    "公众号主页": ("the account's home page", "#5fa3cf"),
    "聊天会话": ("chat", "#b5431f"),
    "朋友圈": ("Moments", "#ef9250"),
    "推荐": ("recommended", "#3f7f3b"),
    "搜一搜": ("search", "#9ccb86"),
    "其他": ("other", "#b9b9b9"),
}

Weeks: TypeAlias = dict[dt.date, Any]
"""Values by week, each week by its Monday."""


def followers(output: str) -> dict[str, Weeks]:
    """Return the followers won and lost on a mean day, by account."""
    found: dict[str, Weeks] = {}
    for appid, week, won, lost in _ask(FOLLOWERS, output, "user_summary"):
        found.setdefault(appid, {})[week] = (won, lost)
    return found


def readers(output: str) -> dict[str, dict[str, Weeks]]:
    """Return the readers on a mean day, by account and scene."""
    found: dict[str, dict[str, Weeks]] = {}
    for appid, scene, week, count in _ask(READERS, output, "biz_summary"):
        found.setdefault(appid, {}).setdefault(scene, {})[week] = count
    return found


def _ask(query: str, output: str, dataset: str) -> list[tuple[Any, ...]]:
    return duckdb.execute(query, [f"{output}/{dataset}/ref_month=*/*.parquet"]).fetchall()


def draw_followers(axes: Axes, weeks: Weeks) -> None:
    """Draw won followers upwards, lost ones downwards, and the difference as a line."""
    won, lost = zip(*weeks.values(), strict=True)
    axes.bar(list(weeks), won, width=6, color="#8cbad8", label="followers won")
    axes.bar(
        list(weeks), [-count for count in lost], width=6, color="#f3b586", label="followers lost"
    )
    net = [more - less for more, less in weeks.values()]
    axes.plot(list(weeks), net, color="#222222", linewidth=1.5, label="won less lost")
    axes.axhline(0, color="#222222", linewidth=0.8)


def draw_readers(axes: Axes, scenes: dict[str, Weeks]) -> None:
    """Draw a line for each scene, with scenes that WeChat added later in grey."""
    known = {**SCENES, **{name: (name, "#777777") for name in scenes if name not in SCENES}}
    for name, (label, colour) in known.items():
        weeks = scenes.get(name, {})
        axes.plot([*weeks], [*weeks.values()], color=colour, linewidth=1.5, label=label)


def draw(output: str, picture: str) -> None:
    """Draw followers and readers of each account in one picture."""
    above, below = followers(output), readers(output)
    appids = sorted(above.keys() & below.keys())
    figure = Figure(figsize=(4.3 * len(appids), 6.4), layout="constrained")
    grid = figure.subplots(2, len(appids), sharex="col", squeeze=False)
    for column, appid in enumerate(appids):
        draw_followers(grid[0][column], above[appid])
        draw_readers(grid[1][column], below[appid])
        grid[0][column].set_title(appid)
    for axes in grid.flat:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(AutoDateLocator(maxticks=7))
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0)
    grid[0][0].set_ylabel("followers a day")
    grid[1][0].set_ylabel("readers a day, by scene")
    for row, place in ((0, "outside upper center"), (1, "outside lower center")):
        handles, labels = grid[row][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc=place, ncols=len(labels), frameon=False)
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    draw(*sys.argv[1:3])
