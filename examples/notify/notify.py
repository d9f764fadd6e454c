"""Tell groups of WeCom, DingTalk and Feishu what newly needs a person; nothing if nothing does.

WECOM_ROBOT, DINGTALK_ROBOT and FEISHU_ROBOT have the addresses that the groups show, and
DINGTALK_SECRET and FEISHU_SECRET the keys of their signatures.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

# Bytes of a text. WeCom bounds the text, and the others the whole body at about 20,000.
LIMITS = {"WECOM": 4_096, "DINGTALK": 18_000, "FEISHU": 18_000}


def main(files: list[str]) -> int:
    """Send the new items of run records, each key once; return 1 if a robot did not take them."""
    records = [json.loads(Path(file).read_text("utf-8")) for file in files]
    new = {item["key"]: item for each in records for item in each["attention"] if item["new"]}
    robots = [name for name in LIMITS if f"{name}_ROBOT" in os.environ]
    if not robots:
        print("set WECOM_ROBOT, DINGTALK_ROBOT or FEISHU_ROBOT", file=sys.stderr)
    taken = [send(name, lines_of([*new.values()])) for name in robots if new]
    return 0 if robots and all(taken) else 1


def lines_of(items: list[dict[str, Any]]) -> list[str]:
    """Return a line for each cause and remedy, with the first accounts."""
    alike = defaultdict[tuple[str, str], dict[str, str]](dict)
    for item in items:
        names = {each["appid"]: each["name"] or each["appid"] for each in item["accounts"]}
        alike[f"{item['cause']} {item['errcode'] or ''}", item["advice"]] |= names
    lines = [f"harvester: {len(items)} new, a person is needed"]
    for (cause, advice), names in alike.items():
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        lines.append(f"{cause} {', '.join([*names.values()][:5])}{more}: {advice}"[:1_000])
    # In WeCom `<@name>` calls a person.
    return [line.replace("<", "\uff1c") for line in lines]


def send(name: str, lines: list[str]) -> bool:
    """Send as many lines as fit; return whether the robot has taken them."""
    kept = lines
    while len("\n".join(lines).encode()) > LIMITS[name]:
        kept = kept[:-1]
        lines = [*kept, "and more: harvester status"]
    text, now, address = "\n".join(lines), time.time(), os.environ[f"{name}_ROBOT"]
    secret = os.environ.get(f"{name}_SECRET")
    body: dict[str, Any] = {"msgtype": "markdown", "markdown": {"content": text}}
    if name == "DINGTALK":
        body = {"msgtype": "text", "text": {"content": text}}
        if secret:
            stamp = str(round(now * 1000))
            query = {"timestamp": stamp, "sign": signature(secret, f"{stamp}\n{secret}")}
            address += f"&{urlencode(query)}"
    elif name == "FEISHU":
        body = {"msg_type": "text", "content": {"text": text}}
        if secret:
            stamp = str(round(now))
            body |= {"timestamp": stamp, "sign": signature(f"{stamp}\n{secret}", "")}
    data, headers = (
        json.dumps(body, ensure_ascii=False).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        answer = json.load(urlopen(Request(address, data, headers), timeout=10))  # noqa: S310
        code: object = int(answer.get("errcode", answer.get("code", -1)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the next robot is told
        code = type(error).__name__  # its text may have the address, which is a key
    if code != 0:
        print(f"{name}: the robot did not take the message: {code}", file=sys.stderr)
    return bool(code == 0)


def signature(key: str, text: str) -> str:
    """Return the signature of a text, as both services want it."""
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
