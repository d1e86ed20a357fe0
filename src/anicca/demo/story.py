"""Five boots of one machine: the first, then one after each thing that people do to hosts. All is asked of it."""

from __future__ import annotations

import hashlib
import json
import secrets
import shlex
import textwrap
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anicca import events
from anicca.demo.promises import Promise, Seen, answers, declared_page, promises, script
from anicca.vm.lab import KernelFiles, run_in_lab
from anicca.vm.machine import Machine, MachineConfig
from anicca.vm.qemu import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from anicca.debian.lock import Lock
    from anicca.declare.spec import Spec
    from anicca.disks.plan import DiskPlan
    from anicca.events import Report
    from anicca.vm.qemu import Accelerator

BOOT_SECONDS = 600
"""A guest under emulation, on a loaded machine; a healthy one takes a tenth."""
JUNK_BYTES = 300 << 20
PARAMETERS = ("console=ttyS0", "anicca.digest")

JUNK_PATHS = (
    *(f"{place}/demo-junk" for place in ("", "/var", "/root", "/srv", "/opt", "/mnt", "/home")),
    "/var/tmp/demo-shell",
    "/var/tmp/demo-random",
    "/var/spool/cron/crontabs/root",
    "/run/systemd/system/demo-junk.service",
    "/opt/demo-link",
    "/demo-stuck",
    "/var/demo-junk.1",
)

JUNK = """\
for place in / /var /root /srv /opt /mnt /home /var/lib /var/log /var/cache; do
    echo junk | dd of=$place/demo-junk conv=fsync status=none
done
cp /bin/bash /var/tmp/demo-shell && chmod 4755 /var/tmp/demo-shell
mkdir -p /var/spool/cron/crontabs && echo '* * * * * /var/tmp/demo-shell' > /var/spool/cron/crontabs/root
printf '[Service]\\nExecStart=/var/tmp/demo-shell\\n' > /run/systemd/system/demo-junk.service
chmod 0777 /srv
ln -s /var/tmp/demo-shell /opt/demo-link
mkfifo /var/tmp/demo-fifo
head -c {size} /dev/urandom > /var/tmp/demo-random
sync
stat -c %a /var/tmp/demo-shell; stat -c %s /var/tmp/demo-random; cat /demo-junk
"""
JUNK_ANSWER = f"4755\n{JUNK_BYTES}\njunk"

PACKAGE = """\
mkdir -p /tmp/demo-deb/DEBIAN
printf '%s\\n' 'Package: demo-junk' 'Version: 1' 'Architecture: all' 'Maintainer: demo <demo@example.org>' \
    'Description: junk' > /tmp/demo-deb/DEBIAN/control
dpkg-deb --build /tmp/demo-deb /tmp/demo.deb > /dev/null
"""

REFUSALS = (
    Promise(
        sentence="a new user is refused",
        question="useradd mallory > /dev/null 2>&1 && echo made || echo refused; getent passwd mallory",
        answer="refused",
    ),
    Promise(
        sentence="a package installed by hand is refused, with a word on what to do instead",
        question=f"{PACKAGE}dpkg -i /tmp/demo.deb 2>&1 | grep -o 'packages change by declaration' | head -n 1; "
        "dpkg-query -W demo-junk > /dev/null 2>&1 && echo installed || echo 'not installed'",
        answer="packages change by declaration\nnot installed",
    ),
    Promise(
        sentence="a cron job in /etc is refused",
        question="{ echo '* * * * * root true' > /etc/cron.d/demo-junk; } 2> /dev/null || echo refused",
        answer="refused",
    ),
)

ABUSE = """\
i=0
while :; do
    i=$((i + 1))
    dd if=/dev/urandom of=/var/demo-junk.$((i % 50)) bs=64k count=4 conv=fsync status=none
    rm -f /var/lib/demo-old.*; echo $i | dd of=/var/lib/demo-old.$i conv=fsync status=none
done
"""

UNGUARDED = """\
mount -t f2fs {device} /mnt
echo stuck > /mnt/demo-stuck
mkdir -p /mnt/etc/cron.d && echo stuck > /mnt/etc/cron.d/demo-stuck
chmod 0777 /mnt
sync
umount /mnt
"""
"""What a rescue system does that knows nothing of `checkpoint=disable`: mounts the root, writes, and it sticks."""

REASON_WIDTH = 70
SUPERBLOCKS_BYTES = 8192
"""f2fs keeps two superblocks, in the first two blocks of 4 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the final table."""

    boot: str
    promised: str
    seen: str
    holds: bool


@dataclass(slots=True, kw_only=True)
class Story:
    """The run of a demo: what it needs, and the rows it has so far."""

    spec: Spec
    lock: Lock
    disk: DiskPlan
    image: Path
    kernel: KernelFiles
    accelerator: Accelerator
    run_dir: Path
    report: Report = events.ignore
    rows: list[Row] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    """Persisted path to the SHA-256 of the proof that was put there."""
    machine_id: str = ""

    def tell(self) -> list[Row]:
        """Boot five times; the rows of the table. Raises `MachineError` if a boot does not end in an answer."""
        config = MachineConfig(
            name=f"anicca-demo-{self.spec.name}",
            disks=(Disk(path=self.image),),
            accelerator=self.accelerator,
            boot_parameters=PARAMETERS,
        )
        with Machine(config, run_dir=self.run_dir) as machine:
            self._boot(machine, "first boot", machine.start, outcome="blank")
            self._misuse(machine)
            self._boot(machine, "clean reboot", machine.reboot, outcome="blank")
            self._cut_while_writing(machine)
            self._boot(machine, "power cut while writing", machine.start, outcome="blank")
            machine.power_off()
            self._mount_unguarded()
            self._boot(machine, "mounted once without the option", machine.start, outcome="made-afresh")
            machine.power_off()
            self._overwrite_superblocks()
            self._boot(machine, "superblocks overwritten", machine.start, outcome="made-afresh")
            machine.power_off()
        return self.rows

    def _boot(self, machine: Machine, name: str, start: Callable[[], None], *, outcome: str) -> None:
        """One boot, and everything that must hold after it."""
        task = f"boot {len(self.digests) + 1} of 5: {name}"
        self.report(events.Started(task=task))
        started = time.monotonic()
        start()
        machine.wait_for_ssh(timeout_seconds=BOOT_SECONDS)
        machine.run("systemctl is-system-running --wait", check=False, timeout_seconds=BOOT_SECONDS)
        asked = promises(self.spec, self.lock)
        seen = self._ask(machine, asked)
        broken = [one for one in seen if not one.holds]
        self._row(name, f"all {len(asked)} promises of the declaration", f"{len(asked) - len(broken)} hold", not broken)
        for one in broken:
            self._row(name, one.promise.sentence, one.said.replace("\n", " | "), holds=False)
        self._guard(machine, name, outcome)
        self._page(machine, name)
        self._blank(machine, name)
        self._persisted(machine, name)
        self._digest(machine, name)
        self.report(events.Finished(task=task, note=f"{time.monotonic() - started:.0f} s with its checks"))

    def _ask(self, machine: Machine, asked: Iterable[Promise]) -> list[Seen]:
        token = f"anicca-{secrets.token_hex(8)}"
        questions = list(asked)
        done = machine.run("sh -s", stdin=script(questions, token).encode(), timeout_seconds=BOOT_SECONDS, check=False)
        return list(answers(questions, done.text, token))

    def _row(self, boot: str, promised: str, seen: str, holds: bool) -> None:
        self.rows.append(Row(boot=boot, promised=promised, seen=seen, holds=holds))

    def _expect(self, machine: Machine, boot: str, promise: Promise, *, shown: str | None = None) -> bool:
        """Ask one question; its row says what was seen, or `shown` where that is what was expected."""
        (seen,) = self._ask(machine, [promise])
        said = seen.said.replace("\n", ", ") or "nothing"
        self._row(boot, promise.sentence, shown or said if seen.holds else said, seen.holds)
        return seen.holds

    def _guard(self, machine: Machine, boot: str, outcome: str) -> None:
        """What the guard says it did."""
        facts = json.loads(machine.run("cat /run/anicca/guard.json").text)
        said = f"{facts['root']}, {facts['outcome']}"
        if facts["reasons"]:
            said += f" ({textwrap.shorten(facts['reasons'][0], REASON_WIDTH, placeholder=' …')})"
        expected = {"blank": "found the root blank", "made-afresh": "saw it and made the root afresh"}[outcome]
        backend = self.spec.root.backend
        self._row(boot, f"the guard {expected}", said, facts["outcome"] == outcome and facts["root"] == backend)

    def _page(self, machine: Machine, boot: str) -> None:
        """What the web server answers, where a page is declared."""
        page = declared_page(self.spec)
        if page is None:
            return
        digest = hashlib.sha256(page).hexdigest()
        promise = Promise(
            sentence="nginx serves the declared page",
            question="curl -fsS http://localhost/ | sha256sum | cut -d' ' -f1",
            answer=digest,
        )
        self._expect(machine, boot, promise, shown=f"{len(page)} bytes, as declared")

    def _blank(self, machine: Machine, boot: str) -> None:
        """Nothing of the boots before is there."""
        promise = Promise(
            sentence="nothing of an earlier boot is on the root",
            question=f"ls -d {' '.join(JUNK_PATHS)} 2> /dev/null; stat -c '/srv %a' /srv",
            answer="/srv 755",
        )
        self._expect(machine, boot, promise, shown="nothing")

    def _persisted(self, machine: Machine, boot: str) -> None:
        """What was put into persisted paths is whole, and the host is the same host."""
        machine_id = machine.run("cat /etc/machine-id").text.strip()
        if not self.kept:
            self.machine_id = machine_id
            return
        for path, digest in self.kept.items():
            promise = Promise(
                sentence=f"{path} has kept what was put there",
                question=f"sha256sum < {shlex.quote(path)}/demo-proof | cut -d' ' -f1",
                answer=digest,
            )
            self._expect(machine, boot, promise, shown="whole")
        same = machine_id == self.machine_id
        self._row(boot, "the machine id and the ssh host key are the same", machine_id[:8] + "…", same)

    def _digest(self, machine: Machine, boot: str) -> None:
        """The digest of the whole root, as it was handed over to systemd."""
        lines = dict(line.split() for line in machine.run("cat /run/anicca/digest").text.splitlines())
        digest = lines["all"]
        self.digests.append(digest)
        alone = len(self.digests) == 1
        promised = "the root has a digest" if alone else "the digest of the whole root is that of the first boot"
        self._row(boot, promised, digest, digest == self.digests[0])

    def _misuse(self, machine: Machine) -> None:
        """Junk everywhere, refused attempts, and a proof in each persisted path."""
        task = "junk all over the root, proofs into persisted paths"
        self.report(events.Started(task=task))
        junk = Promise(
            sentence="junk is written: 10 files with fsync, a setuid shell, a cron job, a unit, 300 MB of noise",
            question=JUNK.format(size=JUNK_BYTES),
            answer=JUNK_ANSWER,
        )
        self._expect(machine, "first boot", junk, shown="written and synced")
        for refusal in REFUSALS:
            self._expect(machine, "first boot", refusal)
        for kept in self.spec.persist:
            if kept.kind == "d":
                proof = secrets.token_hex(4096).encode()
                target = shlex.quote(f"{kept.path}/demo-proof")
                machine.run(f"cat > {target} && sync {target}", stdin=proof)
                self.kept[kept.path] = hashlib.sha256(proof).hexdigest()
        self.report(events.Finished(task=task))

    def _cut_while_writing(self, machine: Machine) -> None:
        """Pull the plug in the middle of fsynced writes."""
        machine.run(f"nohup sh -c {shlex.quote(ABUSE)} > /dev/null 2>&1 < /dev/null &")
        # On a loaded machine the first write may take its time; then it goes on for a while.
        machine.run("until test -e /var/demo-junk.1; do sleep 0.2; done", timeout_seconds=BOOT_SECONDS)
        time.sleep(5)
        machine.cut_power()

    def _mount_unguarded(self) -> None:
        """Mount the root as a rescue system would, and write to it."""
        task = "a rescue system mounts the root without checkpoint=disable and writes to it"
        self.report(events.Started(task=task))
        numbers = [number for number, part in enumerate(self.disk.partitions, 1) if part.role == "root"]
        run_in_lab(
            UNGUARDED.format(device=f"/dev/vda{numbers[0]}"),
            kernel=self.kernel,
            disks=(Disk(path=self.image),),
            accelerator=self.accelerator,
            timeout_seconds=BOOT_SECONDS,
        )
        self.report(events.Finished(task=task))

    def _overwrite_superblocks(self) -> None:
        """Overwrite both of the root's superblocks."""
        root = self.disk.partition("root")
        assert root is not None
        with self.image.open("r+b") as file:
            file.seek(root.start_bytes)
            file.write(secrets.token_bytes(SUPERBLOCKS_BYTES))
