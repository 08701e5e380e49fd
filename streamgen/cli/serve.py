"""``streamgen serve``."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamgen.cli.options import add_engine_arguments, at_least, between, config_of, device_names

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen serve``."""
    unset = argparse.SUPPRESS
    parser.add_argument("--host", default=unset, help="address to bind (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=between(0, 65535), default=unset, help="TCP port, 0 for a free one (default: 8188)"
    )
    parser.add_argument(
        "--max-sessions", type=between(1, 10_000), default=unset, help="sessions at a time (default: 16)"
    )
    parser.add_argument(
        "--min-fps",
        type=between(1, 60),
        default=unset,
        help="frames a second that every session is promised; more sessions than can have that are not let in "
        "(default: 5)",
    )
    parser.add_argument(
        "--max-queue", type=between(0, 10_000), default=unset, help="publishers that may wait for a place (default: 32)"
    )
    parser.add_argument(
        "--idle-seconds", type=at_least(0), default=unset, help="end a session without frames; 0 for never (default)"
    )
    parser.add_argument(
        "--max-session-seconds", type=at_least(0), default=unset, help="longest session; 0 for any length (default)"
    )
    parser.add_argument(
        "--hang-timeout",
        dest="hang_timeout_s",
        type=at_least(0),
        default=unset,
        metavar="SECONDS",
        help="replace a compute process that stands still for so long; 0 for never (default: 30)",
    )
    parser.add_argument(
        "--also-model",
        dest="also_models",
        action="extend",
        nargs="+",
        default=unset,
        metavar="MODEL",
        help="a model that clients may switch to while frames flow; several are possible",
    )
    _add_access_arguments(parser)
    parser.add_argument(
        "--allow-origin",
        dest="origins",
        action="extend",
        nargs="+",
        default=unset,
        metavar="ORIGIN",
        help="a further site whose pages may connect, such as https://example.org",
    )
    parser.add_argument(
        "--publish",
        action="extend",
        nargs="+",
        default=unset,
        metavar="[SESSION=]URL",
        help="send a session, or else the one open the longest, to rtmp://, rtmps://, srt://, udp:// or rtsp://, or "
        "into a .mp4, .mkv, .ts, .webm or .flv; several are possible; no sound; "
        "a URL with a secret is better kept in STREAMGEN_PUBLISH",
    )
    parser.add_argument(
        "--record",
        type=Path,
        default=unset,
        metavar="FOLDER",
        help="record what every session sends, and its settings, for streamgen replay; without it those that are asked "
        "for by the API, into the data folder",
    )
    parser.add_argument(
        "--devices",
        type=device_names,
        default=unset,
        metavar="DEVICE,DEVICE",
        help="several devices, such as cuda:0,cuda:1: each loads the model, sessions go where there is room",
    )
    _add_watching_arguments(parser)
    _add_guard_arguments(parser)
    _add_webrtc_arguments(parser)
    add_engine_arguments(parser)


def _add_guard_arguments(parser: argparse.ArgumentParser) -> None:
    """What judges prompts and pictures."""
    unset = argparse.SUPPRESS
    parser.add_argument(
        "--prompt-filter",
        dest="prompt_filters",
        action="extend",
        nargs="+",
        default=unset,
        metavar="NAME|FILE.txt",
        help="refuse prompts that an installed filter refuses, or that have a word of a text file, one a line",
    )
    parser.add_argument(
        "--output-check",
        dest="output_checks",
        action="extend",
        nargs="+",
        default=unset,
        metavar="NAME",
        help="blur pictures that an installed check refuses, or fails on",
    )
    parser.add_argument(
        "--badge", action="store_true", default=unset, help="put the letters AI into a corner of every picture"
    )


def _add_access_arguments(parser: argparse.ArgumentParser) -> None:
    """Who may come in."""
    unset = argparse.SUPPRESS
    parser.add_argument(
        "--token",
        default=unset,
        help="what clients have to know; with one, --host may be another than the loopback, and `streamgen token` "
        "signs short-lived ones; better kept in STREAMGEN_TOKEN",
    )
    parser.add_argument(
        "--former-token",
        dest="former_tokens",
        action="extend",
        nargs="+",
        default=unset,
        metavar="TOKEN",
        help="the token of before: what was signed with it stays good until it expires",
    )
    parser.add_argument(
        "--insecure-public",
        action="store_true",
        default=unset,
        help="let --host be another than the loopback without a token: anyone who reaches it uses it",
    )
    parser.add_argument("--tls-cert", type=Path, default=unset, metavar="FILE", help="serve HTTPS with this PEM file")
    parser.add_argument("--tls-key", type=Path, default=unset, metavar="FILE", help="the certificate's key, in PEM")
    parser.add_argument(
        "--tls-self-signed",
        action="store_true",
        default=unset,
        help="serve HTTPS with a certificate made here; its fingerprint is printed",
    )


def _add_watching_arguments(parser: argparse.ArgumentParser) -> None:
    """How to see what the server does."""
    group = parser.add_argument_group("watching it")
    unset = argparse.SUPPRESS
    group.add_argument(
        "--metrics-port",
        type=between(1, 65535),
        default=unset,
        help="serve /metrics for Prometheus there, instead of beside the pages; it asks for the token all the same",
    )
    group.add_argument(
        "--log-format", choices=["text", "json"], default=unset, help="of the lines on standard error (default: text)"
    )


def _add_webrtc_arguments(parser: argparse.ArgumentParser) -> None:
    """How media finds its way."""
    group = parser.add_argument_group("WebRTC")
    unset = argparse.SUPPRESS
    group.add_argument(
        "--no-webrtc", dest="webrtc", action="store_false", default=unset, help="serve the WebSocket alone"
    )
    group.add_argument(
        "--webrtc-address",
        dest="webrtc_addresses",
        action="extend",
        nargs="+",
        default=unset,
        metavar="IP",
        help="an address of this machine for media (default: the loopback, or every interface if --host is none)",
    )
    group.add_argument("--webrtc-ports", default=unset, metavar="FIRST-LAST", help="UDP ports for media (default: any)")
    group.add_argument(
        "--webrtc-public-address", default=unset, metavar="IP", help="what others reach this machine by, behind a NAT"
    )
    group.add_argument(
        "--ice-server",
        dest="ice_servers",
        action="extend",
        nargs="+",
        default=unset,
        metavar="URL",
        help="stun:HOST or turn:HOST; TURN's secret stands in STREAMGEN_TURN_SECRET, or user and password in "
        "STREAMGEN_TURN_USERNAME and STREAMGEN_TURN_PASSWORD",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from streamgen.logs import configure_logs
    from streamgen.server.run import serve

    config = config_of(args)
    configure_logs(config.log_format, "server")
    return serve(config)
