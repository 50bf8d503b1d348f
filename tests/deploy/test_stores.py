"""The stores of a KinD cluster: what their containers run at the start does what it says, as the user it runs as."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as NotYet
from redis.retry import Retry

from askmesh.rig.ports import free_ports
from askmesh.rig.redis import PART
from tests.deploy.documents import DEPLOY, one, read
from tests.rig import missing

STORES = DEPLOY / "stores"
USER = 1000
LIMIT_S = 30.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that another user can look into."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def executable(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def test_opensearchs_configuration_is_written_into_a_volume_of_roots_and_again_after_a_restart(folder):
    if os.geteuid() != 0:
        missing("root", "only root can make a folder that belongs to one user be written by another")
    config = one(read(STORES / "configmap-opensearch.yaml"), "ConfigMap", "opensearch")["data"]
    image, made = folder / "image", folder / "made"
    (image / "config/opensearch-security").mkdir(parents=True)
    (image / "config/jvm.options").write_text("-Xms1g\n")
    (image / "plugins/opensearch-security/tools").mkdir(parents=True)
    executable(image / "plugins/opensearch-security/tools/hash.sh", "echo 'a warning'; echo the-hash\n")
    for name in ("configure", "transport"):
        (folder / name).mkdir()
    (folder / "configure/opensearch.yml").write_text(config["opensearch.yml"])
    for name in ("tls.crt", "tls.key", "ca.crt"):
        file = folder / "transport" / name
        file.write_text(name)
        file.chmod(0o444)
    made.mkdir()
    os.chown(made, 0, USER)  # as the kubelet makes an emptyDir for a pod with an fsGroup
    made.chmod(0o2777)
    script = config["configure.sh"].replace("/usr/share/opensearch", str(image))
    for name in ("made", "configure", "transport"):
        script = script.replace(f" /{name}/", f" {folder}/{name}/")
    for _ in range(2):
        done = subprocess.run(
            ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "bash", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
    assert (made / "jvm.options").read_text() == "-Xms1g\n"
    assert yaml.safe_load((made / "opensearch.yml").read_text())["cluster.name"] == "askmesh"
    assert (made / "tls.key").read_text() == "tls.key"
    users = yaml.safe_load((made / "opensearch-security/internal_users.yml").read_text())
    assert users["askmesh"]["hash"] == "the-hash"


def test_redis_asks_for_its_password_shows_it_to_nobody_and_saves_when_it_is_stopped(folder):
    """With the rig's Redis, and an entry point that does what the image's does for a user that is not root: exec."""
    home = PART.find()
    if home is None:
        missing("redis", "make rig")
    bin_, run, data = (folder / name for name in ("bin", "run", "data"))
    for each in (bin_, run, data):
        each.mkdir()
    [port] = free_ports(1)
    executable(bin_ / "docker-entrypoint.sh", f'#!/bin/sh\nexec "$@" --port {port} --bind 127.0.0.1\n')
    (bin_ / "redis-server").symlink_to(home / "redis-server")
    redis_set = one(read(STORES / "statefulset-redis.yaml"), "StatefulSet", "redis")
    [line] = redis_set["spec"]["template"]["spec"]["containers"][0]["args"]
    line = line.replace("/run/askmesh", str(run)).replace("--dir /data", f"--dir {shlex.quote(str(data))}")
    path = {"PATH": f"{bin_}:{os.environ['PATH']}", "LD_LIBRARY_PATH": str(home / "lib"), "REDIS_PASSWORD": "s3cret"}
    with subprocess.Popen(["sh", "-c", line], env={**os.environ, **path}, stdout=subprocess.DEVNULL) as process:
        try:
            client = redis.Redis(
                port=port, password="s3cret", retry=Retry(ConstantBackoff(0.1), 100), retry_on_error=[NotYet]
            )
            assert client.set("kept", 1)
            with pytest.raises(redis.AuthenticationError):
                redis.Redis(port=port).get("kept")
            assert b"s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            assert (run / "redis.conf").stat().st_mode & 0o077 == 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
    assert (data / "dump.rdb").exists()
