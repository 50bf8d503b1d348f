"""The bulk ingestion's Job: its numbers and names are those of the command line and of the manifests around it."""

from __future__ import annotations

import click

from askmesh import exits
from askmesh.cli import root
from tests.deploy.documents import DEPLOY, built, files, one, read

(JOB,) = read(DEPLOY / "ingest" / "job.yaml")
POD = JOB["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def option(name: str) -> str:
    (found,) = [each.partition("=")[2] for each in CONTAINER["args"] if each.startswith(f"--{name}=")]
    return str(found)


def test_there_are_as_many_completions_as_shards():
    assert JOB["spec"]["completionMode"] == "Indexed"
    assert option("shard") == f"/{JOB['spec']['completions']}"


def test_the_command_line_knows_its_options_and_variables():
    name, *arguments = CONTAINER["args"]
    group = root.get_command(click.Context(root), name)
    assert isinstance(group, click.Group)
    command = group.get_command(click.Context(group), "files")
    assert command is not None
    command.make_context("files", arguments)  # raises for what it does not know
    assert {each["name"] for each in CONTAINER["env"]} <= {each.envvar for each in command.params}


def test_only_what_another_try_cannot_mend_fails_a_shard_at_once():
    ignore, fail = JOB["spec"]["podFailurePolicy"]["rules"]
    assert ignore["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert fail["action"] == "FailIndex"
    assert fail["onExitCodes"]["containerName"] == CONTAINER["name"]
    assert fail["onExitCodes"]["values"] == [exits.USAGE, exits.INVALID, exits.REFUSED, exits.PARTLY]
    assert JOB["spec"]["backoffLimitPerIndex"] > 0
    assert POD["restartPolicy"] == "Never"


def test_it_leaves_the_retriever_streams_for_others():
    assert JOB["spec"]["parallelism"] < 8  # RetrieverSettings.max_ingest_streams


def test_its_pods_are_confined_and_are_those_that_the_policies_mean():
    base = [document for path in files(DEPLOY / "base") for document in read(path)]
    labels = JOB["spec"]["template"]["metadata"]["labels"]
    assert one(base, "NetworkPolicy", "ingest")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert one(base, "ServiceAccount", POD["serviceAccountName"])["metadata"]["namespace"] == "rag"
    assert one(base, "PriorityClass", POD["priorityClassName"])
    assert POD["securityContext"]["runAsNonRoot"] is True
    context = CONTAINER["securityContext"]
    assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(CONTAINER["resources"]["requests"])


def test_kustomize_gives_it_our_image():
    job = one(built(DEPLOY / "ingest"), "Job", "ingest")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("registry.invalid/askmesh-ingest@sha256:")
