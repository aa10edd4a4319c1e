"""Runs `commands/kwok_cluster.py` for Commands in a state that the previous release wrote."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from commands.kwok_cluster import main

if __name__ == "__main__":
    main()
