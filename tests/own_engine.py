"""A Docker engine of the test's own, to be stopped, killed and started again: never the one that others use.

It lives in namespaces of its own for network and mounts, so it touches no bridge and no packet filter of this machine
and leaves no mount behind. Its storage is memory there: on a disk it takes ten seconds to be rid of an image.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentlab.sandboxes import images

IMAGE = "agentlab/python:latest"
UP_S = 60.0
HOLD = """
ip link set lo up && mkdir -p "$1" && mount -t tmpfs -o size="$2"m none "$1" && echo ready && exec sleep infinity
"""
"""Keeps the namespaces, and so the storage, while the engine is stopped or dead."""


class OwnEngine:
    """One dockerd with a folder of its own."""

    def __init__(self, folder: Path, data_mb: int, config: Mapping[str, Any]) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder}/sock"
        (folder / "config.json").write_text(json.dumps(config))
        hold = ["unshare", "--net", "--mount", "sh", "-c", HOLD, "sh", f"{folder}/data", str(data_mb)]
        self._holder = subprocess.Popen(hold, stdout=subprocess.PIPE, start_new_session=True)
        assert self._holder.stdout is not None and self._holder.stdout.readline() == b"ready\n"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def data(self) -> Path:
        """Its storage, as seen from here."""
        return Path(f"/proc/{self._holder.pid}/root{self._folder}/data")

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Raises with the end of its log where it does not come up."""
        # After a kill both stay behind, and the numbers in them may be another's by now.
        for left in (self._folder / "pid", self._folder / "exec" / "containerd" / "containerd.pid"):
            left.unlink(missing_ok=True)
        apart = ("nsenter", f"--target={self._holder.pid}", "--net", "--mount", "dockerd")
        flags = [
            f"--config-file={self._folder}/config.json",
            f"--host={self.url}",
            f"--data-root={self._folder}/data",
            f"--exec-root={self._folder}/exec",
            f"--pidfile={self._folder}/pid",
            "--bridge=none",
            "--iptables=false",
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*apart, *flags], stdout=log, stderr=log, start_new_session=True)
        patience = time.monotonic() + UP_S
        while not self.answers():
            assert self.runs and time.monotonic() < patience, (self._folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def answers(self) -> bool:
        return self.docker("version", check=False).returncode == 0

    def docker(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["docker", "-H", self.url, *words], check=check, capture_output=True, **more)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None and self.runs:
            self._process.send_signal(how)
            self._process.wait()

    def close(self) -> None:
        self.end(signal.SIGKILL)
        # What a killed engine leaves running: keepers of containers, known by the folder in their command lines.
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and str(self._folder).encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
        self._holder.kill()
        self._holder.communicate()

    def take_image(self) -> None:
        """Give it the built-in image of the engine that is there for all."""
        ours = images.BUILT_IN["agentlab/python"]
        label = f"LABEL {images.NAME_LABEL}={ours.name} {images.VERSION_LABEL}={images.version(ours)}"
        made = subprocess.run(["docker", "create", IMAGE, "true"], check=True, capture_output=True, text=True)
        try:
            with subprocess.Popen(["docker", "export", made.stdout.strip()], stdout=subprocess.PIPE) as export:
                self.docker("import", "--change", label, "-", IMAGE, stdin=export.stdout)
        finally:
            subprocess.run(["docker", "rm", made.stdout.strip()], check=True, capture_output=True)


@contextmanager
def own_engine(*, data_mb: int = 2000, **config: Any) -> Iterator[OwnEngine]:
    """A running engine with the built-in image, gone with everything in it at the end. Skips where none can be had.
    `data_mb` is the size of its storage.
    """
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        if os.environ.get("AGENTLAB_REQUIRE_ALL") == "1":
            pytest.fail("an engine of one's own needs root and dockerd")
        pytest.skip("an engine of one's own needs root and dockerd")
    # Not under the test's own folder: the path of a socket has 108 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="agentlab-engine-"))
    engine = OwnEngine(folder, data_mb, config)
    try:
        engine.start()
        engine.take_image()
        yield engine
    finally:
        engine.close()
        shutil.rmtree(folder, ignore_errors=True)
