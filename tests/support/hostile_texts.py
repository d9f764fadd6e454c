"""Texts that try to act on a terminal, a CI runner, a page or a sheet, and a search for success.

Each text has the word ``evil`` and a number in it, so that the lines it got into are found.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from markdown_it import MarkdownIt

_COMMANDS = [
    "::error::evil",
    "::warning file=evil.py,line=1::evil",
    "::set-output name=evil::1",
    "::add-mask::evil",
    "::add-path::/evil",
    "::group::evil",
    "::endgroup::evil",
    "::stop-commands::evil",
    "::debug::evil",
    "::save-state name=evil::1",
    "::notice title=evil::x",
    "  ::error::evil",
    "\u3000::error::evil",
    "\u00a0::error::evil",
    "evil ::error::x",
    "evil:::error::x",
    f"{'x' * 120} ::error::evil",
    f"{'evil ' * 30}::error::x",
    "evil\n::error::x",
    "evil\r::error::x",
    "evil\r\n::error::x",
    "evil\x85::error::x",
    "evil\u2028::error::x",
    "evil\u2029::error::x",
    "evil\x0b::error::x",
    "evil\x0c::error::x",
    "evil\n\n   ::set-env name=PATH::/x",
    "::ffff:1.2.3.4 ::error::evil",
    "x ::ffff:1.2.3.4::error::evil",
    "##[error]evil",
    "##[command]evil",
    "evil ##[group]x",
    "##[set-output name=evil;]x",
    "##vso[task.setvariable variable=evil]x",
    "evil ##vso[build.addbuildtag]x",
    "##teamcity[message text='evil']",
    "###[error]evil",
    "evil\n##[error]x",
]
_TERMINALS = [
    "\x1b[31mevil\x1b[0m",
    "\x1b[2Jevil",
    "\x1b]0;evil\x07",
    "\x1b]8;;http://x.test\x1b\\evil\x1b]8;;\x1b\\",
    "\x1b[1A\x1b[2Kevil",
    "\x1b[6nevil",
    "\x1bPevil\x1b\\",
    "\x1b(0evil",
    "\x9b31mevil",
    "\x9d0;evil\x9c",
    "\x90evil\x9c",
    "evil\x00",
    "evil\x07",
    "evil\x08\x08\x08\x08good",
    "evil\rgood",
    "evil\tx",
    "evil\x7f",
    "evil\x0e\x0f",
    "\x1b[?1049hevil",
    "\x1b]52;c;ZXZpbA==\x07evil",
    "section_start:1:evil\r\x1b[0Kx",
    "\x1b[38;2;0;0;0mevil",
]
_DIRECTIONS = [
    "\u202eevil",
    "\u202devil\u202c",
    "\u202aevil",
    "\u202bevil",
    "\u2066evil\u2069",
    "\u2067evil\u2069",
    "\u2068evil\u2069",
    "\u200eevil",
    "\u200fevil",
    "\u061cevil",
    "evil\u200b",
    "e\u200dvil evil",
    "e\u200cvil evil",
    "\ufeffevil",
    "\u2060evil",
    "\u00adevil",
    "evil\U000e0041\U000e0042",
    "\ufff9evil\ufffa\ufffb",
    "\u180eevil",
    "\u206aevil",
    "\u2063evil",
    "evil \u202e##[error]",
]
_MARKDOWN = [
    "[evil](http://x.test)",
    "![evil](http://x.test/p.png)",
    "[evil][evil]",
    "[evil]: http://x.test",
    "<http://evil.test>",
    "<evil@x.test>",
    "# evil",
    "## evil",
    "> evil",
    "- evil",
    "* evil",
    "+ evil",
    "| evil | x |",
    "```evil",
    "~~~evil",
    "**evil**",
    "*evil*",
    "__evil__",
    "_evil_",
    "~~evil~~",
    "***evil***",
    "evil\n\n# evil",
    "evil\n| - |",
    "--- evil",
    "=== evil",
]
_HTML = [
    "<script>evil</script>",
    "<img src=x onerror=evil>",
    "<svg/onload=evil>",
    "<!-- evil",
    "</table>evil",
    "<?evil?>",
    "<a href='javascript:evil'>x</a>",
    "<iframe src=//evil.test>",
    "<details open ontoggle=evil>",
    "<b>evil",
    "evil<script\n>x</script>",
    "<ScRiPt>evil</sCrIpT>",
    "<![CDATA[evil]]>",
    '"><script>evil</script>',
]
_FORMULAS = [
    "=cmd|' /C calc'!A0 evil",
    '=HYPERLINK("http://x.test","evil")',
    "+cmd|' /C evil'!A0",
    "-cmd|' /C evil'!A0",
    "@SUM(evil)",
    "-2+3+cmd|' /C evil'!A0",
    "evil,=1+1",
    "evil;=1+1",
    "evil,+cmd",
    "evil|=1+1",
    'evil,"=1+1"',
    "\t=evil",
    "\r=evil",
    "evil\n=1+1",
    '"=evil"',
]

HOSTILE: Final = tuple(
    text.replace("evil", f"evil{number:03}")
    for number, text in enumerate(
        (*_COMMANDS, *_TERMINALS, *_DIRECTIONS, *_MARKDOWN, *_HTML, *_FORMULAS), 100
    )
)

FRIENDLY: Final = tuple(
    """\
北京旗舰店
上海·华东区
公众号（测试）
茶颜悦色
全角\u3000空格
𠮷野家
𱍐字店
臺灣門市
☕ Café
👨‍👩‍👧‍👦 family
❤️‍🔥
🇨🇳 store
👍🏽
🏳️‍🌈
🧑‍💻 dev
🫩
Acme Service
O'Neill & Sons
a + b = c
50% off
C# club
R&D (EU)
A/B test
x < y
foo_bar_baz
_extra
_harvester/raw
snake_case_name
user_*
a * b
2*3
~/jobs.yaml
/srv/data lake/jobs.yaml
C:\\Users\\Li\\jobs.yaml
s3://bucket/a b/c
../up/jobs.yaml
/数据/任务.yaml
output/ref_month=2026-05/part-0000-of-0001.parquet
jobs (1).yaml
a,b.csv
wx0000000000000001
-1
+8613800000000
3.14
1,234
-5%
45009
2026-05-31
中文, English
Ünïcödé
naïve façade
Ελληνικά
Русский
日本語テキスト
한국어
ไทย
العربية
עברית
فارسی می‌خواهم
हिन्दी
क्‍ष
Tiếng Việt
Türkçe
Español ¿sí?
invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist
reach max api daily quota limit
access_token missing
more details at https://mmbizurl.cn/s/x
system error
api unauthorized
hint: [abc]
a: b: c
12:30:59
key=value
{appid}
${NAME}
a|b
100 €
№ 5
½
“quoted”
«guillemets»
'single'
"double"
…
—dash—
a - b
e-mail
x@example.com
[retail]
(paren)
<3
a <- b
1 > 0
tag #5
foo#bar
www.example.com
sh: 1: vault: not found
Permission denied
the command `x` failed
exit code 1
no such file
Acme  two blanks
\u00a0nbsp
tag:retail
client=Acme
*.parquet
report.md
a.b.c
$5
""".splitlines()
)
"""Texts of ordinary output, which must stay as they are."""

_ADDRESS = re.compile(r"\S ::ffff:\d{1,3}(?:\.\d{1,3}){3}(?![:\d])")
_OWN_COMMAND = re.compile(r"::error [a-z]+=[^:,]+(?:,[a-z]+=[^:,]+)*::(?P<data>.*)")
_MARKDOWN_IT = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_INERT = {"paragraph_open", "paragraph_close", "inline", "text", "softbreak", "code_inline"}
_INERT |= {"code_block", "text_special"}


def acts(output: str) -> list[str]:
    """Return what acts in the text output of a command, with the reasons."""
    return [f"{reason}: {line!r}" for line in output.split("\n") for reason in _reasons(line)]


def acts_in_json(output: str) -> list[str]:
    """Return what acts in the JSON output of a command."""
    json.loads(output)
    found = _Searches(output.replace("\n", " "))
    return [
        f"{reason}: {output!r}" for reason in (*found.bytes(), *found.commands(), *found.tags())
    ]


def _reasons(line: str) -> Iterator[str]:
    own = _OWN_COMMAND.fullmatch(line)
    found = _Searches(f"error: {own['data']}" if own else line)
    yield from found.bytes()
    yield from found.commands()
    yield from found.tags()
    if "evil" in line and not own:
        yield from found.blocks()
    yield from found.formulas()


class _Searches:
    """The searches of one line."""

    def __init__(self, line: str) -> None:
        self.line = line

    def bytes(self) -> Iterator[str]:
        """Find invisible characters: nothing but joiners between other than ASCII is allowed."""
        for at, character in enumerate(self.line):
            if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
                around = self.line[at - 1 : at] + self.line[at + 1 : at + 2]
                if character not in "\u200c\u200d" or len(around) < 2 or around.isascii():
                    yield f"U+{ord(character):04X}"

    def commands(self) -> Iterator[str]:
        """Find commands of runners: wherever a terminal wraps, a line may begin."""
        if self.line.lstrip().startswith("::") or "::" in _ADDRESS.sub("", self.line):
            yield "::"
        if re.search(r"##\w*\[", self.line):
            yield "##["

    def tags(self) -> Iterator[str]:
        """Find HTML and links."""
        if re.search(r"<[A-Za-z/!?]|\]\(|\]\[", self.line):
            yield "HTML or a link"

    def blocks(self) -> Iterator[str]:
        """Render the line as Markdown and find anything but plain text."""
        definitions: dict[str, object] = {}
        for token in _MARKDOWN_IT.parse(self.line, definitions):
            for each in (token, *(token.children or ())):
                if each.type not in _INERT:
                    yield f"Markdown {each.type}"
        if definitions.get("references"):
            yield "Markdown definition"

    def formulas(self) -> Iterator[str]:
        """Read the line as a sheet and find cells that are formulas."""
        for separator in ",;|\t":
            for row in csv.reader(io.StringIO(self.line.replace("\r", " ")), delimiter=separator):
                for value in row:
                    if value[:1] in {*"=+-@"} and not re.fullmatch(r"[-+]?[\d.,]+%?", value):
                        yield "a formula"


def numbers_in(texts: Iterable[str]) -> set[str]:
    """Return the numbers of the hostile texts that got into some outputs."""
    return {match for text in texts for match in re.findall(r"evil(\d{3})", text)}
