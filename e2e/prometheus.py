"""A real Prometheus that holds what drivers told, at times of the test's choice: nothing has to be waited for."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from e2e.node import succeeded
from e2e.waiting import at_most

INTERVAL = 15  # seconds between two scrapes
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    address: str

    def query(self, expression: str, at: int) -> list[tuple[dict[str, str], float]]:
        """What an expression is at a moment: labels and value of each series; raises `HTTPError` if it is none."""
        parameters = urlencode({"query": expression, "time": at})
        with urlopen(f"http://{self.address}/api/v1/query?{parameters}", timeout=30) as answer:
            found = json.load(answer)["data"]["result"]
        return [(series["metric"], float(series["value"][1])) for series in found]


def history(scrapes: list[str], labels: Mapping[str, str], start: int) -> str:
    """Scrapes, one every `INTERVAL` seconds from `start` on, as one text in the format of OpenMetrics."""
    extra = ",".join(f'{name}="{value}"' for name, value in labels.items())
    samples: dict[str, list[str]] = {}
    for number, scrape in enumerate(scrapes):
        for name, own, value in _SAMPLE.findall(scrape):
            series = f"{name}{{{own},{extra}}}" if own else f"{name}{{{extra}}}"
            samples.setdefault(series, []).append(f"{series} {value} {start + number * INTERVAL}\n")
    return "".join(line for lines in samples.values() for line in lines) + "# EOF\n"


@contextmanager
def serving(program: Path, promtool: Path, scratch: Path, text: str) -> Iterator[Prometheus]:
    """A Prometheus on loopback that holds `text` and asks nobody."""
    (scratch / "history.txt").write_text(text, encoding="utf-8")
    data = scratch / "data"
    command: list[str | Path] = [promtool, "tsdb", "create-blocks-from", "openmetrics", scratch / "history.txt", data]
    succeeded(subprocess.run(command, capture_output=True, text=True, timeout=60, check=False))
    (scratch / "prometheus.yml").write_text("{}\n", encoding="utf-8")
    options = [
        f"--config.file={scratch / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        "--web.listen-address=127.0.0.1:0",
        "--log.format=json",
    ]
    process = subprocess.Popen([program, *options], stderr=subprocess.PIPE, text=True)
    try:
        yield Prometheus(_announced(process))
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _announced(process: subprocess.Popen[str]) -> str:
    """The address at which the server says it listens, when it says that it is ready. It says little after that."""
    assert process.stderr is not None
    address = ""
    said: list[str] = []
    with at_most(process.kill):
        for line in process.stderr:
            said.append(line)
            told: dict[str, Any] = json.loads(line)
            address = told.get("address") or address
            if "ready to receive web requests" in told.get("msg", ""):
                return address
    raise RuntimeError(f"prometheus does not get ready; it ended with {process.wait()}: {''.join(said)}")
