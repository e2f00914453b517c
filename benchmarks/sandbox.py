"""What boxes cost, each figure beside a floor of the same run: the table of `agentlab sandbox bench`.

python benchmarks/sandbox.py [--only NAME]... [--json]
"""

from __future__ import annotations

from agentlab.service.cli import main

if __name__ == "__main__":
    import sys

    main(["sandbox", "bench", *sys.argv[1:]])
