"""What the benches of the provisioner share: its binaries, a served hub, and what a command took."""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import time


def parser(doc):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    release = pathlib.Path(__file__).resolve().parent.parent / "target/release"
    parser.add_argument("--bin", default=release, type=lambda path: pathlib.Path(path).resolve())
    return parser


class Hub:
    """A `local-hub serve` with its data in a folder, and all that was asked of it in a log."""

    def __init__(self, bin, folder, *args):
        self.bin, self.folder, self.log = bin, folder, folder / "requests.jsonl"
        serve = [bin / "local-hub", "serve", "--https", "127.0.0.1:0", "--mqtt", "none", "--data", folder / "hub",
                 "--request-log", self.log, *args]
        self.process = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
        assert "ready" in self.process.stdout.readline()
        secret = (folder / "hub/connection-string").read_text().strip()
        self.environment = dict(os.environ, IOTHUB_CA_FILE=str(folder / "hub/ca.pem"), IOTHUB_CONNECTION_STRING=secret)

    def provision(self, *args):
        """Runs the provisioner in the folder; answers the seconds that it took and the most MiB that it held."""
        begun = time.monotonic()
        process = subprocess.Popen([self.bin / "provisioner", *args], cwd=self.folder, env=self.environment)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, f"it ended with {status}"
        # Linux counts in KiB.
        return time.monotonic() - begun, usage.ru_maxrss / 1024

    def requests(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def writes(self):
        return sum(request.get(what) or 0 for request in self.requests() for what in ("created", "updated", "deleted"))


@contextlib.contextmanager
def hub(args, *serve):
    """A fresh hub, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        hub = Hub(args.bin, pathlib.Path(folder), *serve)
        try:
            yield hub
        finally:
            hub.process.kill()
            hub.process.wait()


def units(devices, modules=3):
    """A batch of devices with modules, thumbprints and twins."""
    yield "device_id,module_id,primary_thumbprint,tags.site,desired.interval\n"
    for device in range(devices):
        for module in range(modules + 1):
            name = f"m{module}" if module else ""
            yield f"dev-{device:07},{name},{device * 64 + module:064X},Ulm,60\n"
