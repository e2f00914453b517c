"""What an agent with root may have done to the verdict, in the box in which it is graded.

A verifier in the agent's own box runs the programs of that box. Nothing makes that safe; this makes the usual tricks
fail and the rest visible. Seen from outside the box, what differs from the image is known. Of that
 - what runs every verdict (loader, C library, shells, small tools, the interpreter and its library) is put back, what
   was added to be run by them is removed, and both are told;
 - what a verdict may hang on and a right solution may change (installed packages, settings of a home) is told.
Everything else is the agent's work.
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agentlab.sandboxes.protocol import Change, Sandbox, SandboxError

_LIB = r"/(?:usr/)?(?:local/)?lib(?:32|64|x32)?"
_BIN = r"/(?:usr/)?(?:local/)?s?bin"
_TOOLS = (
    "bash dash sh busybox env cat cp mv rm ln ls mkdir rmdir mktemp chmod chown touch tee head tail sort uniq wc cut "
    "tr echo printf test true false expr seq sleep timeout date dirname basename realpath readlink pwd id whoami uname "
    "find xargs grep egrep fgrep sed awk gawk mawk diff cmp md5sum sha1sum sha256sum tar gzip gunzip zcat bc jq"
)

_LIBRARIES = ("c", "m", "dl", "pthread", "rt", "tinfo", "selinux", "pcre2-8", "gcc_s", "stdc\\+\\+", "z", "expat")

PUT_BACK = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_LIB}(?:/[^/]+-linux-[^/]+)?/(?:ld-linux|ld-musl|ld-[0-9]|lib(?:{'|'.join(_LIBRARIES)})[.-])[^/]*",
        rf"{_BIN}/(?:{'|'.join(_TOOLS.split())}|\[)",
        rf"{_BIN}/python[0-9.]*",
        rf"{_LIB}(?:/[^/]+-linux-[^/]+)?/libpython[0-9.]+[^/]*",
        rf"{_LIB}/python[0-9.]+/(?!(?:site|dist)-packages(?:/|$)).+\.(?:py|so)",
        r"/etc/ld\.so\.(?:preload|conf|cache)",
        r"/etc/ld\.so\.conf\.d/.+",
        r"/etc/python[0-9.]+/.+",
    )
)
"""Programs and libraries that every verdict runs on. Where changing them is the task itself, the run says so
(`Terms.restore_tools`).
"""

ROOT_HOOKS = ("conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml")
HOOKS = tuple(
    re.compile(pattern)
    for pattern in (
        r"/etc/ld\.so\.preload",
        rf"{_LIB}/python[0-9.]+/(?:(?:site|dist)-packages/)?(?:sitecustomize|usercustomize)(?:\.py|/__init__\.py)",
        r"/(?:root|home/[^/]+)/\.local/lib/python[0-9.]+/site-packages/(?:site|user)customize(?:\.py|/__init__\.py)",
        rf"/(?:{'|'.join(map(re.escape, ROOT_HOOKS))})",
    )
)
"""Files that are run or read unasked; those that the agent added are removed."""

TELL = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_LIB}/python[0-9.]+/(?:site|dist)-packages/.+",
        r"/(?:root|home/[^/]+)/\.local/lib/python[0-9.]+/site-packages/.+",
        rf"{_BIN}/.+",
        r"/(?:root|home/[^/]+)/\.(?:bashrc|bash_profile|bash_login|profile|zshrc|pythonrc|config/.+|local/bin/.+)",
        r"/etc/(?:profile|profile\.d/.+|bash\.bashrc|environment|hosts|resolv\.conf|nsswitch\.conf|passwd|shadow|sudoers.*)",
    )
)

_FOLDERS = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/lib", "/lib")
FOLDERS = tuple(
    re.compile(pattern)
    for pattern in (_BIN, _LIB, rf"{_LIB}/[^/]+-linux-[^/]+", rf"{_LIB}/python[0-9.]+(?:/(?!site-|dist-).+)?")
)
"""Folders of such programs."""

PLACES = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32"),
    *("/usr/lib64", "/usr/libx32", "/usr/local", "/etc", "/root", "/home"),
    *(f"/{name}" for name in ROOT_HOOKS),
)
"""Where everything that is looked for can lie: where nothing there was touched, nothing is to be undone."""
MANY = 8
MAX_TOLD = 20


@dataclass(frozen=True, slots=True)
class Findings:
    """Paths, by what was done about them."""

    put_back: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """As labels of the trial."""
        found = []
        if self.put_back or self.removed:
            found.append(("verifier_tools", "changed"))
        if self.told:
            found.append(("verifier_system", "changed"))
        return tuple(found)

    @property
    def explanation(self) -> str:
        lines = []
        for what, paths in (
            ("put back as in the image", self.put_back),
            ("removed before grading", self.removed),
            ("changed, and left", self.told),
        ):
            if paths:
                more = f" and {len(paths) - MAX_TOLD} more" if len(paths) > MAX_TOLD else ""
                lines.append(f"{what}: {', '.join(paths[:MAX_TOLD])}{more}")
        return "\n".join(lines)


async def undo(box: Sandbox) -> Findings:
    """Put back and remove what would decide the verdict unasked. The agent's processes are dead or frozen by now.

    It takes the engine up to a second: worth asking for only where anything in `PLACES` was touched.
    """
    changed = _without_folders(await box.changes())
    removed = [path for path, kind in changed.items() if kind == "added" and _any(HOOKS, path)]
    for path in removed:
        await box.remove(path, user="grader")
    put_back = await _put_back_all(box, [path for path in _spoiled(changed) if path not in removed])
    done = {*removed, *put_back}
    told = [path for path in changed if path not in done and _any(TELL, path)]
    return Findings(tuple(put_back), tuple(removed), tuple(told))


def _spoiled(changed: Mapping[str, Change]) -> list[str]:
    """Paths that every verdict runs on and that are not what the image has. A folder that was deleted stands for all
    that was in it.
    """
    found = [path for path in changed if _any(PUT_BACK, path)]
    return found + [path for path, kind in changed.items() if kind == "deleted" and _any(FOLDERS, path)]


async def _put_back_all(box: Sandbox, paths: Sequence[str]) -> list[str]:
    """Make the paths what the image has; those that were put back or removed. Where a folder has many of them it is
    asked for once, as each question to the engine takes a fifth of a second.
    """
    by_root: dict[str, list[str]] = {}
    for path in paths:
        by_root.setdefault("/".join(path.split("/")[:4]), []).append(path)
    done: list[str] = []
    for root, inside in by_root.items():
        archive = await _original(box, root) if len(inside) > MANY else None
        for path in inside:
            member = _member(archive, path[len(posixpath.dirname(root)) :].lstrip("/")) if archive else None
            if await _put_back(box, path, member):
                done.append(path)
    return done


async def _original(box: Sandbox, path: str) -> bytes | None:
    """What the image has there, None for nothing, or for more than is carried at once."""
    try:
        return await box.original(path)
    except FileNotFoundError:
        return None
    except SandboxError as error:
        if error.kind != "image":
            raise
        return None


def _member(archive: bytes, name: str) -> bytes | None:
    """One file or link of a tar as a tar of its own."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as source,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as single,
    ):
        try:
            member = source.getmember(name)
        except KeyError:
            return None
        if not (member.isreg() or member.issym()):
            return None
        data = source.extractfile(member) if member.isreg() else None
        member.name = posixpath.basename(name)
        single.addfile(member, data)
    return out.getvalue()


async def _put_back(box: Sandbox, path: str, archive: bytes | None) -> bool:
    """Whether `path` is again as in the image. What the image does not have there is removed where it would be found
    before, or in place of, what it has.
    """
    archive = archive or await _original(box, path)
    if archive is None and not await _stands_before_another(box, path):
        return False
    await box.remove(path, user="grader")
    if archive is not None:
        await box.restore(archive, posixpath.dirname(path), user="grader")
    return True


async def _stands_before_another(box: Sandbox, path: str) -> bool:
    """Whether the image has a program or library of that name in another usual folder."""
    name = posixpath.basename(path)
    for folder in _FOLDERS:
        if await _original(box, f"{folder}/{name}") is not None:
            return True
    return False


def _any(patterns: Iterable[re.Pattern[str]], path: str) -> bool:
    return any(pattern.fullmatch(path) for pattern in patterns)


def _without_folders(changed: Mapping[str, Change]) -> dict[str, Change]:
    """What lies where it matters here, without the folders that are listed only for what is in them."""
    near: dict[str, Change] = {path: kind for path, kind in changed.items() if path.startswith(PLACES)}
    above = {posixpath.dirname(path) for path in near}
    for path in above:
        if near.get(path) == "changed":
            del near[path]
    return near
