"""The user's netrc file, where wandb login leaves its key."""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path


def netrc_password(host: str, environ: Mapping[str, str]) -> str:
    """The password for `host` in the file that NETRC names, else in ~/.netrc or ~/_netrc; "" where there is none."""
    home = Path(environ.get("HOME", "~")).expanduser()
    for path in (Path(environ["NETRC"]).expanduser(),) if environ.get("NETRC") else (home / ".netrc", home / "_netrc"):
        try:
            entry = netrc.netrc(path).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            continue
        if entry and entry[2]:
            return entry[2]
    return ""
