"""Which file system a folder is on, and whether locks hold there.

Everything rests on flock: two claimers on machines that share a folder by NFS, SMB or 9p may both
have "the" lock. The kernel says what is mounted where in `/proc/self/mountinfo`; where there is
none (another system than Linux), nothing is known and nothing refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "coda", "ceph", "lustre", "gpfs"}
    | {"glusterfs", "beegfs", "orangefs", "pvfs2", "gfs2", "ocfs2", "vboxsf", "prl_fs", "davfs"}
)
# FUSE says what it is after a dot. Those that are local disks are no danger.
LOCAL_FUSE = frozenset({"fuseblk", "fuse.ntfs-3g", "fuse.exfat", "fuse.fuse-overlayfs"})
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    at: Path
    kind: str  # "ext4", "fuse.sshfs"
    source: str

    @property
    def is_shared(self) -> bool:
        """Whether another machine may see the folder, where our locks do not reach."""
        if self.kind in NETWORK:
            return True
        return self.kind.startswith("fuse") and self.kind not in LOCAL_FUSE


def mount_of(folder: Path, mountinfo: Path = MOUNTINFO) -> Mount | None:
    """The mount that `folder` is on; None where the kernel does not say."""
    try:
        text = mountinfo.read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    real = folder.resolve()
    found: Mount | None = None
    for line in text.splitlines():
        mount = _parse(line)
        if mount is None or not real.is_relative_to(mount.at):
            continue
        # Of two at one place the later covers the earlier.
        if found is None or len(mount.at.parts) >= len(found.at.parts):
            found = mount
    return found


def _parse(line: str) -> Mount | None:
    """`36 35 98:0 /root /at rw,noatime master:1 - ext4 /dev/sda1 rw`: proc(5)."""
    before, _, after = line.partition(" - ")
    fields, kinds = before.split(" "), after.split(" ")
    if len(fields) < 5 or len(kinds) < 2:
        return None
    return Mount(at=Path(_plain(fields[4])), kind=kinds[0], source=_plain(kinds[1]))


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
