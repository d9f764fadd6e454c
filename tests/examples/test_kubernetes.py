"""The example for Kubernetes: what it does at each exit code, and that it is what it says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from harvester import run
from harvester.core.exit_codes import Exit
from harvester.core.model import bucket_of
from harvester.manifest import loader
from harvester.planning.engine_shard import shard_of_engine
from harvester.testing import sandbox
from harvester.verbs import arguments
from tests.support.doc_pages import ROOT
from tests.support.example_tools import needs_tools, tool

EXAMPLE = ROOT / "examples/kubernetes"
FILES = ("harvest.yaml", "gate.yaml", "alert.yaml")

Spec = dict[str, Any]


def documents(name: str) -> list[Spec]:
    """Return the objects of a file."""
    return list(yaml.safe_load_all((EXAMPLE / name).read_text()))


def harvest() -> tuple[Spec, Spec, Spec]:
    """Return the ConfigMap, the CronJob's spec and the Job's spec."""
    _, config, cron = documents("harvest.yaml")
    return config, cron["spec"], cron["spec"]["jobTemplate"]["spec"]


@pytest.mark.parametrize("name", FILES)
def test_pods_have_a_service_account_of_their_own(name: str) -> None:
    """And no token of it, because harvester asks the cluster nothing."""
    found = documents(name)
    [pod] = [spec for each in found for spec in pods(each)]
    assert pod["serviceAccountName"] == documents("harvest.yaml")[0]["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is False


def pods(found: Spec) -> list[Spec]:
    """Return the specification of the pods of an object, if it has any."""
    spec = found.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return [spec["template"]["spec"]] if "template" in spec else []


def gate() -> Spec:
    """Return the spec of the gate's Job."""
    [found] = documents("gate.yaml")
    spec: Spec = found["spec"]
    return spec


def container(job: Spec) -> Spec:
    """Return the only container of a Job."""
    [found] = job["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def variables(job: Spec) -> dict[str, str]:
    """Return the variables of the container."""
    return {each["name"]: each["value"] for each in container(job)["env"]}


def action(job: Spec, code: int, *, disrupted: bool = False) -> str:
    """Return what a Job does about a failed pod: the first rule that matches, or counting it."""
    for rule in job["podFailurePolicy"]["rules"]:
        if disrupted and {"type": "DisruptionTarget", "status": "True"} in rule.get(
            "onPodConditions", []
        ):
            return str(rule["action"])
        exits = rule.get("onExitCodes")
        if exits:
            assert exits["containerName"] == container(job)["name"]
            assert exits["operator"] == "In"
            if code in exits["values"]:
                return str(rule["action"])
    return "Count"


ACTIONS = {
    Exit.DONE: "Complete",
    Exit.AGAIN: "Complete",
    Exit.ATTENTION: "Complete",
    Exit.INCOMPLETE: "Complete",
    Exit.USAGE: "FailJob",
    Exit.UNAUTHORISED: "FailIndex",
    Exit.BUG: "FailIndex",
    Exit.SIGINT: "Count",
    Exit.SIGTERM: "Count",
    Exit.SIGHUP: "Count",
}


@pytest.mark.parametrize("code", Exit)
def test_what_a_shard_does_at_an_exit_code(code: Exit) -> None:
    """75, 76 and 3 are no failures; 2 ends all shards, 1 and 4 their own; a signal is counted."""
    _, _, job = harvest()
    accepted = {0, *map(int, variables(job)["HARVESTER_OK_EXIT"].split(","))}
    found = "Complete" if code in accepted else action(job, code)
    assert found == ACTIONS[code]
    assert action(job, code, disrupted=True) == "Ignore"


@pytest.mark.parametrize("code", Exit)
def test_what_the_gate_does_at_an_exit_code(code: Exit) -> None:
    """It is repeated while only time is needed, and fails where a person is."""
    counted = {Exit.AGAIN, Exit.DONE, Exit.SIGINT, Exit.SIGTERM, Exit.SIGHUP}
    assert action(gate(), code) == ("Count" if code in counted else "FailJob")
    assert action(gate(), code, disrupted=True) == "Ignore"


def test_the_tables_of_the_page_say_so() -> None:
    """Each exit code stands there with the action that the rules have."""
    page = (EXAMPLE / "README.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \| `\w+` \| (.*) \|$", page, re.MULTILINE)
    told = {int(code): text for cell, text in rows for code in cell.split(",")}
    words = {"Complete": "ends as 0", "Count": "counted", "FailJob": "FailJob:"}
    assert set(told) == set(Exit)
    for code in set(Exit) - {Exit.DONE}:
        assert words.get(ACTIONS[code], ACTIONS[code]) in told[code]
    assert told[Exit.DONE] == "the index is complete"


def test_a_job_is_one_that_kubernetes_accepts() -> None:
    """The rules of its validation that stand in no schema."""
    _, cron, job = harvest()
    assert (cron["schedule"], cron["timeZone"]) == ("40 2,6 * * *", "Etc/UTC")
    assert cron["concurrencyPolicy"] == "Forbid"
    for spec in (job, gate()):
        # With a failure policy nothing else is allowed.
        assert spec["template"]["spec"]["restartPolicy"] == "Never"
        assert spec["podReplacementPolicy"] == "Failed"
        for rule in spec["podFailurePolicy"]["rules"]:
            assert len(rule) == 2
            values = rule.get("onExitCodes", {}).get("values", [1])
            assert values == sorted({*values} - {0})
    # FailIndex needs a limit per index, and that an Indexed Job.
    assert job["completionMode"] == "Indexed"
    assert job["backoffLimitPerIndex"] > 0


def test_shards_buckets_and_times_agree() -> None:
    """As many pods as shards, at least as many buckets, and a budget below the deadline."""
    config, _, job = harvest()
    environ = variables(job)
    count = int(environ["HARVESTER_SHARDS"])
    assert job["completions"] == job["parallelism"] == count
    found = loader.read(
        EXAMPLE / "jobs.yaml", environ={}, now=time.time(), text=config["data"]["jobs.yaml"]
    ).manifest()
    assert found.output.buckets >= count
    assert environ["HARVESTER_SHARD"] == "auto"
    shards = [
        shard_of_engine({**environ, "JOB_COMPLETION_INDEX": str(index)}) for index in range(count)
    ]
    assert shards == [(number, count) for number in range(1, count + 1)]
    budget = arguments.seconds(environ["HARVESTER_MAX_DURATION"])
    assert budget is not None
    assert budget < job["activeDeadlineSeconds"]
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] > 6.5


def start(folder: Path, jobs: Spec, **environ: str) -> subprocess.Popen[str]:
    """Start the command of the container, with its variables, in a folder in the place of /."""
    _, _, job = harvest()
    (folder / "jobs.yaml").write_text(json.dumps(jobs))
    message = folder / "termination-log"
    message.touch()
    assert container(job)["terminationMessagePath"] == "/dev/termination-log"
    given = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        # As in each container.
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "TERMINATION_LOG_PATH": str(message),
        **variables(job),
        **environ,
    }
    *words, manifest = container(job)["command"]
    assert manifest == "/etc/harvester/jobs.yaml"
    command = [*words, str(folder / "jobs.yaml")]
    return subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True)


def said(folder: Path) -> list[str]:
    """Return the lines of the termination message."""
    return (folder / "termination-log").read_text().splitlines()


@pytest.mark.long
def test_a_container_leaves_its_outcome(tmp_path: Path) -> None:
    """The shard of its index; 0 for what is not finished, and the truth in its message."""
    with sandbox(accounts=8) as wechat:
        wechat.fail("*", 45009)
        jobs = wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
        jobs["output"] = {"path": jobs["output"], "buckets": 8}
        own = bucket_of(wechat.accounts[0], 8) % 4
        with start(tmp_path, jobs, JOB_COMPLETION_INDEX=str(own)) as process:
            assert process.stderr is not None
            lines = process.stderr.read()
        assert process.returncode == 0, lines
        assert json.loads(lines.splitlines()[-1])["shard"] == f"{own + 1}/4"
        head, _, figures, reasons, retry_at, *_ = said(tmp_path)
        assert head.startswith("## harvester run: unfinished (75): ")
        assert f"of shard {own + 1}/4: " in figures
        assert reasons == "Reasons: quota."
        assert re.fullmatch(r"Run again from 20\S+ 16:05 UTC \(.* in Beijing\) on\.", retry_at)


@pytest.mark.long
def test_the_alert_fails_once_for_each_trouble(tmp_path: Path) -> None:
    """After the run in which it begins, with its key and what to do, and after no later one."""
    [alert] = documents("alert.yaml")
    python, *arguments = container(alert["spec"]["jobTemplate"]["spec"])["command"]
    assert python == "python3"
    manifest = tmp_path / "jobs.yaml"
    command = [word.replace("/etc/harvester/jobs.yaml", str(manifest)) for word in arguments]
    assert command != arguments
    environ = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": str(ROOT)}
    with sandbox(accounts=2) as wechat:
        wechat.fail(wechat.accounts[0], 48001)
        jobs = wechat.manifest(["interface_summary"], output=str(tmp_path / "output"))
        manifest.write_text(json.dumps(jobs))
        codes = []
        for _ in range(2):
            run(manifest)
            done = subprocess.run(
                [sys.executable, *command], env=environ, capture_output=True, text=True, check=False
            )
            codes.append(done.returncode)
            assert (f"refused/{wechat.accounts[0]}/48001: " in done.stderr) is bool(done.returncode)
    assert codes == [1, 0]


@pytest.mark.slow
def test_a_container_ends_in_order(tmp_path: Path) -> None:
    """SIGTERM reaches the run; what it obtained is published."""
    with sandbox(accounts=8) as wechat:
        jobs = wechat.manifest(
            ["interface_summary_hour"], begin_date="-300d", output=str(tmp_path / "output")
        )
        jobs["limits"] = {"per_token": {"rate": "20/s"}}
        jobs["output"] = {"path": jobs["output"], "buckets": 8}
        with start(tmp_path, jobs, JOB_COMPLETION_INDEX="0") as process:
            while wechat.server.calls.total() < 20:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            process.wait()
            assert process.stderr is not None
            lines = process.stderr.read()
        assert process.returncode == Exit.SIGTERM, lines
        assert said(tmp_path)[0].startswith("## harvester run: stopped (143): ")
        assert list(tmp_path.glob("output/interface_summary_hour/*/*.parquet"))


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("version", ["1.33", "1.37"])
def test_the_files_have_the_published_schema(name: str, version: str, tmp_path: Path) -> None:
    """No unknown member and no wrong type; the same file with a member misspelt is refused."""
    # The program wants a name, which the server makes.
    text = (EXAMPLE / name).read_text().replace("generateName: harvester-gate-", "name: gate")
    for given, is_valid in ((text, True), (text.replace("restartPolicy", "restartPolic"), False)):
        file = tmp_path / name
        file.write_text(given)
        command = [tool("kubernetes-validate"), "-k", version, "--strict", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) is is_valid, done.stdout + done.stderr


class Step(NamedTuple):
    """An instruction of the Containerfile: its first word, and the rest with no line break."""

    word: str
    rest: str


def stages() -> list[list[Step]]:
    """Return the stages of the Containerfile, and what stands before the first."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Containerfile").read_text(), flags=re.MULTILINE)
    found: list[list[Step]] = [[]]
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        if word:
            found[-1].append(Step(word, " ".join(rest.split())))
    return found


def copied() -> set[str]:
    """Return the files and folders of a checkout that the image is built from."""
    copies = (step.rest.split() for stage in stages() for step in stage if step.word == "COPY")
    return {name for words in copies if "--from=build" not in words for name in words[:-1]}


def is_sent(path: str) -> bool:
    """Return whether the builder gets a file: the last pattern that matches it or a folder of it.

    The patterns are those of Docker, without its character classes.
    """
    parts = path.split("/")
    places = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    found = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = re.escape(line.removeprefix("!"))
        pattern = pattern.replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if not line.startswith("#") and any(re.fullmatch(pattern, place) for place in places):
            found = line.startswith("!")
    return found


def test_the_image_is_built_in_two_stages_on_a_digest() -> None:
    """The last one has what the first one made, and nothing of the base or the checkout."""
    [argument], build, image = stages()
    base = r"BASE=docker\.io/library/python:3\.13\.\d+-slim-trixie@sha256:[0-9a-f]{64}"
    assert argument.word == "ARG"
    assert re.fullmatch(base, argument.rest)
    assert build[0] == Step("FROM", "${BASE} AS build")
    assert image[0] == Step("FROM", "scratch")
    copies = [step.rest for step in image if step.word in {"ADD", "COPY", "RUN"}]
    assert copies == ["--from=build /image /"]
    pod = harvest()[2]["template"]["spec"]["securityContext"]
    assert Step("USER", f"{pod['runAsUser']}:{pod['runAsUser']}") in image


def test_the_image_is_made_without_an_index() -> None:
    """The only call of pip takes files of the wheelhouse by their hashes."""
    [call] = [step.rest for stage in stages() for step in stage if " pip " in step.rest]
    assert "--no-index --find-links /wheelhouse --require-hashes" in call


def test_the_builder_gets_no_secret() -> None:
    """It gets the files that the image is built from, and nothing else that lies in a checkout."""
    wheels = "dist/wheelhouse${EXTRAS:+-${EXTRAS}}"
    assert copied() == {wheels, "tools/release/image_root.py"}
    for name in (
        *("tools/release/image_root.py", "dist/wheelhouse/requirements.txt"),
        "dist/wheelhouse-lakehouse/requirements.txt",
        "dist/wheelhouse/wechat_harvester-0.1.0-py3-none-any.whl",
    ):
        assert is_sent(name), name
    for name in (
        *(".git/config", ".env", ".venv/bin/python", ".ssh/id_ed25519", "tools/release/.env"),
        *("output/interface_summary/ref_month=2026-01/part-0000.parquet", "examples/output/x"),
        *("jobs.yaml", "accounts.csv", "store.env", "wx0000000000000001", "secrets/wx1", "key.pem"),
        *("harvester/__init__.py", "dist/wheelhouse/.env", "dist/secrets", "constraints.txt"),
    ):
        assert not is_sent(name), name
