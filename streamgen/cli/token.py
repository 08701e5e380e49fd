"""``streamgen token``: signed tokens, made where the server's own token is known, without asking the server."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from datetime import UTC, datetime
from typing import get_args

from streamgen.config import from_environment
from streamgen.tokens import Role, TokenKeys, read_request

__all__ = ["add_arguments", "run"]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen token``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="print a token", description="Print a token, and nothing else.")
    create.add_argument("--role", choices=get_args(Role), required=True, help="publish may also control, control view")
    create.add_argument("--session", help="the one session it is good for (default: any)")
    create.add_argument(
        "--origin", dest="origins", action="append", default=[], help="a site it may be used from; several are possible"
    )
    create.add_argument(
        "--expires",
        type=_seconds,
        default=3600,
        metavar="TIME",
        help="nobody comes in later: 90s, 15m, 1h (default), 7d",
    )
    create.add_argument(
        "--duration",
        type=_seconds,
        metavar="TIME",
        help="how long a connection lasts (default: until the token expires)",
    )
    create.add_argument("--token", help="of the server (default: STREAMGEN_TOKEN, where no other user can read it)")


def run(args: argparse.Namespace) -> int:
    """Print the token; what it says goes to standard error.

    Raises:
        SettingsError: ``invalid_claim``.
        ConfigError: ``no_secret`` or ``weak_secret``.
    """
    asked = {"role": args.role, "session": args.session, "origins": args.origins}
    times = {"expires_in": args.expires, "duration": args.duration}
    claims = read_request(json.dumps(asked | times)).claims(time.time())
    print(TokenKeys(from_environment(token=args.token).token).mint(claims))
    until = datetime.fromtimestamp(claims.expires, UTC).isoformat(timespec="seconds")
    print(f"{claims.role}, session {claims.session or 'any'}, until {until}", file=sys.stderr)
    return 0


def _seconds(text: str) -> int:
    """An argument type: a time such as 90s, 15m, 1h or 7d."""
    if not (match := re.fullmatch(r"(\d{1,9})([smhd])", text)):
        raise argparse.ArgumentTypeError(f"must be a time such as 90s, 15m, 1h or 7d, got {text!r}")
    return int(match[1]) * _UNITS_S[match[2]]
