"""`tanzaku serve` under load on loopback: capacity, latency at 60 % of it, what happens at three times it, and memory.

    python -m benchmarks.serving BUNDLE

writes records/benchmarks/serving.json. BUNDLE is a LoRA's bundle without its encoder, such as `tanzaku pack` makes from
a run on tanzaku-mini. The server loads it once, and then a hundred times under different names: each is an adapter of
its own to the server. Requests have one text of the sample corpus and name a task at random. All traffic is sent to
127.0.0.1 and is bounded in time.
"""

import argparse
import asyncio
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from benchmarks.record import SERVING, origin
from tanzaku.data.embedded import prepare_sample
from tanzaku.files import folder_bytes, write_json_atomically
from tanzaku.machine import describe_machine
from tanzaku.provenance import now

ROOT = Path(__file__).parents[1]
CHARACTERS = 300  # of a text


@dataclass(frozen=True)
class Scale:
    """Adapters, seconds of each phase, and requests at once while the capacity is measured."""

    adapters: int
    capacity_seconds: float
    steady_seconds: float
    overload_seconds: float
    recovered_seconds: float
    workers: int = 16


SCALES = {
    "tiny": Scale(adapters=5, capacity_seconds=2, steady_seconds=3, overload_seconds=2, recovered_seconds=2),
    "full": Scale(adapters=100, capacity_seconds=30, steady_seconds=300, overload_seconds=60, recovered_seconds=10),
}


@dataclass
class Phase:
    """What became of the requests of a phase; seconds are from when a request was due until its answer."""

    offered_per_second: float
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def facts(self) -> dict[str, object]:
        """As it is recorded: milliseconds are of answered requests."""
        answered = np.array(self.seconds or [np.nan])
        return {
            "offered_per_second": round(self.offered_per_second, 2),
            "requests": sum(self.statuses.values()),
            "statuses": dict(self.statuses),
            "failed": sum(count for status, count in self.statuses.items() if status not in ("200", "429")),
            "p50_ms": round(1000 * float(np.median(answered)), 1),
            "p99_ms": round(1000 * float(np.quantile(answered, 0.99)), 1),
        }


class Load:
    """Sends requests to a server with tasks named t0, t1, …"""

    def __init__(self, url: str, *, tasks: int, texts: list[str]) -> None:
        self._url, self._tasks, self._texts = url, tasks, texts
        self._random = random.Random(0)

    async def capacity(self, seconds: float, *, workers: int) -> float:
        """Requests per second that are answered when so many workers always wait for one each."""
        answered = 0
        end = time.perf_counter() + seconds

        async def work(client: httpx.AsyncClient) -> None:
            nonlocal answered
            while time.perf_counter() < end:
                status = await self._post(client)
                answered += status == "200"

        async with self._client() as client:
            await asyncio.gather(*(work(client) for _ in range(workers)))
        return answered / seconds

    async def at_rate(self, per_second: float, seconds: float) -> Phase:
        """Send requests at random times of this rate, whether or not earlier ones were answered."""
        phase = Phase(per_second)
        waiting: set[asyncio.Task[None]] = set()
        begin = due = time.perf_counter()
        async with self._client() as client:
            while (due := due + self._random.expovariate(per_second)) < begin + seconds:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                task = asyncio.create_task(self._note(client, phase, due))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            await asyncio.gather(*waiting)
        return phase

    async def _note(self, client: httpx.AsyncClient, phase: Phase, due: float) -> None:
        status = await self._post(client)
        phase.statuses[status] += 1
        if status == "200":
            phase.seconds.append(time.perf_counter() - due)

    async def _post(self, client: httpx.AsyncClient) -> str:
        task = f"t{self._random.randrange(self._tasks)}"
        try:
            content = {"task": task, "texts": [self._random.choice(self._texts)]}
            return str((await client.post("/v1/classify", json=content)).status_code)
        except httpx.HTTPError as error:
            return type(error).__name__

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=900, max_keepalive_connections=100)
        return httpx.AsyncClient(base_url=self._url, timeout=60, limits=limits)


@contextmanager
def _server(bundle: Path, *, tasks: int) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a server, ended by SIGTERM."""
    names = [f"t{number}={bundle}" for number in range(tasks)]
    command = [sys.executable, "-m", "tanzaku", "serve", *names, "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def measure(bundle: Path, scale: Scale) -> dict[str, object]:
    """Memory with one adapter and with many, and the phases of the load."""
    texts = [text[:CHARACTERS] for text in prepare_sample().dataset.test.texts]
    with _server(bundle, tasks=1) as (url, process):
        # The library compiles kernels for the shapes of batches, and keeps them: both servers see the same load.
        asyncio.run(Load(url, tasks=1, texts=texts).capacity(scale.capacity_seconds, workers=scale.workers))
        one = process.memory_info().rss
    with _server(bundle, tasks=scale.adapters) as (url, process):
        load = Load(url, tasks=scale.adapters, texts=texts)
        capacity = asyncio.run(load.capacity(scale.capacity_seconds, workers=scale.workers))
        many = process.memory_info().rss
        steady = asyncio.run(load.at_rate(0.6 * capacity, scale.steady_seconds))
        overload = asyncio.run(load.at_rate(3 * capacity, scale.overload_seconds))
        after_overload = process.memory_info().rss
        recovered = asyncio.run(load.at_rate(0.6 * capacity, scale.recovered_seconds))
    adapter = folder_bytes(bundle / "model")
    return {
        "scale": asdict(scale),
        "characters": CHARACTERS,
        "capacity_per_second": round(capacity, 2),
        "steady": steady.facts(),
        "overload": overload.facts(),
        "recovered": recovered.facts(),
        "memory": {
            "one_adapter_bytes": one,
            "adapters": scale.adapters,
            "adapter_bytes": adapter,
            "bytes": many,
            "bound_bytes": round(1.2 * (one + scale.adapters * adapter)),
            "after_overload_bytes": after_overload,
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path, help="a LoRA's bundle")
    parser.add_argument("--scale", choices=SCALES, default="full", help="tiny: some seconds, only to see that it works")
    parser.add_argument("--out", type=Path, help="write the record here; the full scale has its place")
    options = parser.parse_args(given)
    started = now()
    measured = measure(options.bundle, SCALES[options.scale])
    # A record says nothing of the machine's paths.
    command = shlex.join(["python", "-m", "benchmarks.serving", "--scale", options.scale, options.bundle.name])
    record = {"machine": asdict(describe_machine()), **origin(command, started=started), **measured}
    out = options.out or (SERVING if options.scale == "full" else None)
    if out is not None:
        write_json_atomically(out, record)
    print(json.dumps(record, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
