"""A container from the image's own configuration, by runc, as Kubernetes would run it: without
root, without capabilities, without new privileges, its root read-only and no folder to write to."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

READY_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 20
CAPABILITY_SETS: Final = ("bounding", "effective", "inheritable", "permitted", "ambient")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine inside a container, which may write to it or not."""

    source: Path
    place: str
    writable: bool = False

    @property
    def of_runc(self) -> dict[str, Any]:
        options = ["rbind", "rw" if self.writable else "ro", "nosuid", "noexec", "nodev"]
        where = {"destination": self.place, "source": str(self.source)}
        return {**where, "type": "bind", "options": options}


@dataclass(slots=True)
class Container:
    """One container; it shares this machine's network, as a pod with hostNetwork does."""

    folder: Path
    name: str
    process: subprocess.Popen[str] | None = field(default=None)

    def write(
        self,
        files: Path,
        config: Mapping[str, Any],
        environ: Mapping[str, str],
        *,
        mounts: Sequence[Mount] = (),
    ) -> None:
        """The bundle of these files and the image's configuration; `environ` comes on top."""
        variables = [*config["Env"], *(f"{name}={value}" for name, value in environ.items())]
        uid, gid = (int(number) for number in config["User"].split(":"))
        bundle = {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False,
                "user": {"uid": uid, "gid": gid},
                "args": [*config["Entrypoint"], *config["Cmd"]],
                "env": variables,
                "cwd": config["WorkingDir"],
                "capabilities": {name: [] for name in CAPABILITY_SETS},
                "noNewPrivileges": True,
            },
            "root": {"path": str(files), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                _tmpfs("/dev"),
                Mount(Path("/sys"), "/sys").of_runc,
                *(one.of_runc for one in mounts),
            ],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "mount")]},
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.json").write_text(json.dumps(bundle))

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._runc("run", "--bundle", str(self.folder), self.name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_ready(self, url: str) -> float:
        """Seconds until /readyz answers 200. Raises when it ends or takes too long."""
        assert self.process is not None
        began_s = time.monotonic()
        while time.monotonic() - began_s < READY_TIMEOUT_S:
            if self.process.poll() is not None:
                raise RuntimeError(f"the container ended:\n{self.ended()[1]}")
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=1) as answer:
                    answer.read()
                return time.monotonic() - began_s
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise RuntimeError(f"not ready after {READY_TIMEOUT_S} s")

    def pid(self) -> int:
        """Of its first process, as this machine numbers it."""
        told = json.loads(subprocess.check_output(self._runc("state", self.name), text=True))
        return int(told["pid"])

    def run_inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._runc("exec", self.name, *command),
            capture_output=True,
            text=True,
            timeout=STOP_TIMEOUT_S,
            check=False,
        )

    def stop(self) -> tuple[int, str]:
        """SIGTERM, as the kubelet sends it; the exit status and the output."""
        subprocess.run(self._runc("kill", self.name, "TERM"), check=True)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Waits for its end; the exit status and the output."""
        assert self.process is not None
        output, _ = self.process.communicate(timeout=STOP_TIMEOUT_S)
        return self.process.returncode, output

    def clear(self) -> None:
        """Nothing of it is left, however the test went."""
        if self.process is not None and self.process.poll() is None:
            subprocess.run(self._runc("kill", self.name, "KILL"), check=False)
            try:
                self.ended()
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait(STOP_TIMEOUT_S)

    def _runc(self, *arguments: str) -> Sequence[str]:
        return ["runc", "--root", str(self.folder / "state"), *arguments]


def _tmpfs(place: str) -> dict[str, Any]:
    options = ["nosuid", "strictatime", "mode=755", "size=64k"]
    return {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options}
