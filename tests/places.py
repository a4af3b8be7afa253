"""Where the tests find the project and the scenes that are not part of it."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder, in which its scripts run."""
DATA = Path(os.environ.get("TAICHI_RF_DATA", ROOT / "../shared/data"))
"""Real scenes, as the README of the data describes them."""
