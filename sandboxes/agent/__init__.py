"""The agent that runs inside every box, and how it gets there.

Its modules are plain Python 3.8 and import nothing else of this project. `LOADER`, given to `python3 -c` in the box,
reads them from standard input and runs the last one. So nothing has to be in the image, and agent and runner always
match.
"""

from __future__ import annotations

import marshal
from functools import cache
from importlib import resources
from importlib.util import MAGIC_NUMBER

LOADER = """\
import contextlib, errno, gc, json, marshal, os, re, select, signal, stat, struct, sys, time, typing
from _frozen_importlib_external import MAGIC_NUMBER
def take(n):
    data = b""
    while len(data) < n:
        chunk = os.read(0, n - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return data
magic = take(4)
ready, texts = (take(int.from_bytes(take(4), "big")) for _ in range(2))
if magic == MAGIC_NUMBER:
    modules = marshal.loads(ready)
else:
    modules = [(name, compile(text, name, "exec")) for name, text in eval(texts)]
for name, code in modules:
    module = sys.modules[name] = type(sys)(name)
    module.__path__ = []
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    exec(code, module.__dict__)
module.main()
"""

PYTHON_FLAGS = ("-I", "-S", "-B", "-c", LOADER)
"""The loader imports what the agent will need while it waits for it: an engine takes its time to tell of a start."""
ROOT_FLAGS = (*PYTHON_FLAGS[:-1], "import ctypes, resource, tarfile\n" + LOADER)
"""The same for a box whose users may be root."""
MODULES = ("wire", "processes", "files", "tars", "cleaning", "spawning", "filing", "transfers", "commands", "guest")


@cache
def bundle(*, root: bool = False, network: bool = False) -> bytes:
    """The agent's modules as `LOADER` expects them: compiled, for a box with the same Python (15 ms less at the
    start of every box), and as text for any other. `root`: for a box whose users may be root; `network`: for one that
    has a way out.
    """
    package = "agentlab.sandboxes.agent"
    folder = resources.files(package)
    names = (*MODULES, *(["rooted"] if root else []), *(["relay"] if network else []), "main")
    texts = [(name, "") for name in ("agentlab", "agentlab.sandboxes", package)]
    texts += [(f"{package}.{name}", folder.joinpath(f"{name}.py").read_text(encoding="utf-8")) for name in names]
    ready = marshal.dumps([(name, compile(text, name, "exec", dont_inherit=True)) for name, text in texts])
    parts = [MAGIC_NUMBER]
    for part in (ready, repr(texts).encode()):
        parts += [len(part).to_bytes(4, "big"), part]
    return b"".join(parts)
