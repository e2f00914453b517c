"""What every sandbox does with files, snapshots and hostile archives."""

from __future__ import annotations

import asyncio
import errno
import io
import tarfile

import pytest

from agentlab.sandboxes import Sandbox


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", data: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o644
    return info, data


async def test_a_file_goes_in_and_out(box: Sandbox) -> None:
    data = bytes(range(256)) * 20_000
    await box.write_file("deep/er/file.bin", data, mode=0o755)
    assert await box.read_file("/workspace/deep/er/file.bin") == data
    listed = await box.exec(["stat", "-c", "%a %U", "deep/er/file.bin", "deep"])
    assert listed.stdout == b"755 task\n755 task\n"
    await box.write_file("empty", b"")
    assert await box.read_file("empty") == b""


async def test_what_cannot_be_read_says_why(box: Sandbox) -> None:
    await box.exec(["sh", "-c", "mkdir d; mkfifo pipe; ln -s /etc/passwd link; echo 12345 > big"])
    with pytest.raises(FileNotFoundError):
        await box.read_file("none/at/all")
    with pytest.raises(IsADirectoryError):
        await box.read_file("d")
    for name in ("pipe", "link", "/dev/zero"):
        with pytest.raises(ValueError, match="not a regular file"):
            await box.read_file(name)
    with pytest.raises(ValueError, match="6 bytes, more than the 5"):
        await box.read_file("big", max_bytes=5)
    assert await box.read_file("big", max_bytes=6) == b"12345\n"


async def test_files_of_the_kernel_tell_nothing_of_the_boxs_keeper(box: Sandbox) -> None:
    assert b"\nPid:\t1\n" not in await box.read_file("/proc/self/status")
    for name in ("/proc/1/environ", "/proc/1/maps"):
        with pytest.raises((PermissionError, FileNotFoundError)):
            await box.read_file(name)


LEASE = "import fcntl, sys; f = open('held', 'w'); fcntl.fcntl(f, 1024, 1); print(flush=True); sys.stdin.read()"


async def test_a_file_that_is_held_makes_nobody_wait(box: Sandbox) -> None:
    async with box.stream(["python3", "-c", LEASE]) as holder:
        async for _ in holder:
            break
        with pytest.raises(BlockingIOError):
            await box.read_file("held")
        assert (await box.exec(["true"])).ok


async def test_many_files_at_once_and_commands_between_them(box: Sandbox) -> None:
    contents = [bytes([number]) * 700_000 for number in range(6)]
    await asyncio.gather(*(box.write_file(f"file{n}", data) for n, data in enumerate(contents)))
    reads = [box.read_file(f"file{n}") for n in range(6)]
    *found, listed = await asyncio.gather(*reads, box.exec(["sh", "-c", "ls -A | wc -l"]))
    assert found == contents
    assert listed.stdout.strip() == b"6"


async def test_a_file_given_up_half_way_leaves_nothing(box: Sandbox) -> None:
    writing = asyncio.create_task(box.write_file("big", bytes(20 << 20)))
    while not (await box.exec(["ls", "-A"])).stdout:
        assert not writing.done()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    left = (await box.exec(["ls", "-A"])).stdout
    assert not left or left == b"big\n"


async def test_writing_replaces_a_link_and_never_follows_it(box: Sandbox) -> None:
    await box.exec(["sh", "-c", "echo precious > target; ln -s target link"])
    await box.write_file("link", b"new")
    assert await box.read_file("target") == b"precious\n"
    assert await box.read_file("link") == b"new"


async def test_what_cannot_be_written_says_why(box: Sandbox) -> None:
    await box.exec(["mkdir", "d"])
    with pytest.raises(IsADirectoryError):
        await box.write_file("d", b"")
    with pytest.raises(OSError, match=r".") as raised:
        await box.write_file("/usr/bin/evil", b"")
    assert raised.value.errno in (errno.EACCES, errno.EROFS)
    with pytest.raises(OSError, match=r".") as raised:
        await box.write_file("huge", bytes(50 << 20))
    # Where the workspace has no size of its own (modal) no file may be larger than it was to be.
    assert raised.value.errno == (errno.EFBIG if box.backend == "modal" else errno.ENOSPC)
    assert (await box.exec(["ls", "-A"])).stdout == b"d\n"


async def test_the_graders_files_are_out_of_reach(box: Sandbox) -> None:
    await box.write_file("/grade/secret", b"42", user="grader")
    assert await box.read_file("/grade/secret", user="grader") == b"42"
    assert (await box.exec(["sh", "-c", "cat secret; id -un"], cwd="/grade", user="grader")).stdout == b"42grader\n"
    with pytest.raises(PermissionError):
        await box.read_file("/grade/secret")
    for attempt in ("ls /grade", "cat /grade/secret", "chmod 777 /grade", "mv /grade /tmp/g", "touch /grade/x"):
        assert not (await box.exec(["sh", "-c", attempt])).ok


async def test_a_graders_path_does_not_lead_through_a_link(box: Sandbox) -> None:
    for user in ("task", "grader"):
        await box.exec(["ln", "-s", "/grade", "/tmp/way"], user=user)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r"link|Not a directory"):
        await box.write_file("/tmp/way/tests.py", b"", user="grader")


async def test_a_snapshot_can_be_restored(box: Sandbox) -> None:
    script = (
        "mkdir -p a/b empty; echo text > a/b/f; chmod 750 a/b/f; ln -s b/f a/link; ln -s /usr/bin/python3 python; "
        "mkfifo a/pipe; echo hidden > shut; chmod 000 shut; head -c 3000000 /dev/urandom > big; mkdir closed; "
        "echo in > closed/f; chmod 000 closed"
    )
    assert (await box.exec(["sh", "-c", script])).ok
    before = await box.exec(["sh", "-c", "sha256sum big; find . ! -name pipe -printf '%p %m %l\\n' | sort"])
    taken = await box.snapshot()
    assert await box.reset()
    assert (await box.exec(["ls", "-A"])).stdout == b""
    await box.restore(taken)
    after = await box.exec(["sh", "-c", "sha256sum big; find . ! -name pipe -printf '%p %m %l\\n' | sort"])
    assert after.stdout == before.stdout
    assert (await box.exec(["sh", "-c", "chmod 400 shut; cat shut a/link"])).stdout == b"hidden\ntext\n"
    with tarfile.open(fileobj=io.BytesIO(taken)) as tar:
        assert {m.type for m in tar} <= {tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE}


async def test_a_snapshot_is_capped(box: Sandbox) -> None:
    await box.exec(["sh", "-c", "truncate -s 100G sparse || truncate -s 40M sparse"])
    with pytest.raises(ValueError, match="holds more than"):
        await box.snapshot(max_bytes=1 << 20)
    await box.exec(["sh", "-c", "rm sparse; for i in $(seq 300); do mkdir d; cd d; done"])
    with pytest.raises(ValueError, match="directories deep"):
        await box.snapshot()


async def test_a_grader_can_be_given_a_copy(box: Sandbox) -> None:
    await box.write_file("work/answer.txt", b"hello")
    await box.restore(await box.snapshot("/workspace/work"), "/grade/copy", user="grader")
    assert (await box.exec(["cat", "/grade/copy/answer.txt"], user="grader")).stdout == b"hello"


HOSTILE = {
    "upwards": [member("../evil", data=b"x")],
    "absolute": [member("/tmp/evil", data=b"x")],
    "inside and up": [member("a/../../evil", data=b"x")],
    "device": [member("null", tarfile.CHRTYPE)],
    "pipe": [member("pipe", tarfile.FIFOTYPE)],
    "hard link out": [member("passwd", tarfile.LNKTYPE, "../../etc/passwd")],
    "through a link": [member("d", tarfile.SYMTYPE, "/tmp"), member("d/evil", data=b"x")],
    "through a relative link": [member("d", tarfile.SYMTYPE, "../tmp"), member("./d//evil", data=b"x")],
    "too deep": [member("d/" * 300 + "f", data=b"x")],
}


async def test_hostile_archives_are_refused_whole(box: Sandbox) -> None:
    for name, members in HOSTILE.items():
        with pytest.raises(ValueError, match="archive"):
            await box.restore(archive(member("innocent", data=b"x"), *members))
        listed = await box.exec(["ls", "-A", "/workspace", "/tmp"])
        assert listed.stdout == b"/tmp:\n\n/workspace:\n", name


async def test_broken_archives_are_refused(box: Sandbox) -> None:
    good = archive(member("f", data=b"x" * 5000))
    for data in (b"no tar at all" * 100, good[:2000]):
        with pytest.raises(ValueError, match="cannot be read"):
            await box.restore(data)


async def test_nothing_is_unpacked_through_a_link_that_lies_there(box: Sandbox) -> None:
    await box.exec(["ln", "-s", "/tmp", "d"])
    with pytest.raises(OSError, match=r"link|directory"):
        await box.restore(archive(member("d/evil", data=b"x")))
    assert (await box.exec(["ls", "-A", "/tmp"])).stdout == b""


async def test_links_that_leave_are_refused_for_the_grader(box: Sandbox) -> None:
    with pytest.raises(ValueError, match="outside"):
        await box.restore(archive(member("l", tarfile.SYMTYPE, "/workspace")), "/grade", user="grader")
    with pytest.raises(ValueError, match="outside"):
        await box.restore(archive(member("a/l", tarfile.SYMTYPE, "../../x")), "/grade", user="grader")
    await box.restore(archive(member("f", data=b"x"), member("a/l", tarfile.SYMTYPE, "../f")), "/grade", user="grader")
    assert (await box.exec(["cat", "/grade/a/l"], user="grader")).stdout == b"x"
