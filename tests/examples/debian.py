"""Programs of Debian packages without installing them: a service of theirs would start, and the machine would not be as before."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def unpacked(*packages):
    """The directory that holds the files of these packages, of the release that this machine has; kept for the next run."""
    place = Path(os.environ.get("SF_CACHE", ROOT / ".cache")) / f"packages-{'-'.join(packages)}"
    if not (place / "ready").exists():
        place.mkdir(parents=True, exist_ok=True)
        # Not as the user _apt, who may not write here.
        subprocess.run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *packages], cwd=place, check=True)
        for package in place.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, place], check=True)
            package.unlink()
        (place / "ready").touch()
    return place
