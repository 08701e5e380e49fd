"""``streamgen obs``: put the overlay into a running OBS, through its WebSocket server (obs-websocket 5)."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode, urlsplit

import obsws_python
from obsws_python.error import OBSSDKError, OBSSDKRequestError, OBSSDKTimeoutError
from websocket import WebSocketException

from streamgen.config import from_environment, obs_password
from streamgen.errors import ConfigError

__all__ = ["add_arguments", "run"]

_KIND = "browser_source"
_TIMEOUT_S = 5.0
_MAX_SIDE = 8192
_NAME_TAKEN = 601  # RequestStatus::ResourceAlreadyExists of obs-websocket

_Settings: TypeAlias = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``streamgen obs`` can do."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser(
        "add-source",
        help="show a session as a Browser source",
        description="Add a Browser source with the overlay of a session to a scene, or update the one of that name.",
    )
    _add_source_arguments(add)
    _add_connection_arguments(add)


def _add_source_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--session", type=_session, required=True, help="the session to show, such as studio")
    parser.add_argument("--url", type=_url, help="the streamgen server as OBS reaches it (default: this machine's)")
    parser.add_argument("--name", default="streamgen", help="of the source (default: streamgen)")
    parser.add_argument("--scene", help="where to add it (default: the scene that is on air)")
    parser.add_argument("--width", type=_side, default=1280, help="pixels (default: 1280)")
    parser.add_argument("--height", type=_side, default=720, help="pixels (default: 720)")
    parser.add_argument("--fps", type=_fps, help="how often OBS paints it (default: as often as the canvas)")
    parser.add_argument(
        "--fit", choices=["contain", "cover", "fill"], default="contain", help="the picture in it (default: contain)"
    )
    parser.add_argument("--mirror", action="store_true", help="mirror the picture")
    parser.add_argument("--token", help="of the streamgen server (default: STREAMGEN_TOKEN)")


def _add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("OBS", "In OBS: Tools, WebSocket Server Settings, Enable WebSocket server.")
    group.add_argument("--obs-host", default="127.0.0.1", help="where OBS runs (default: 127.0.0.1)")
    group.add_argument("--obs-port", type=_port, default=4455, help="its WebSocket server's port (default: 4455)")
    group.add_argument("--obs-password", help="its password (default: OBS_WEBSOCKET_PASSWORD)")


def run(args: argparse.Namespace) -> int:
    """Add or update the source.

    Raises:
        ConfigError: why it could not be done.
    """
    with _connected(args) as obs:
        scene = _scene(obs, args.scene)
        done = _put(obs, scene, args.name, _settings(args))
    print(f"{done} the source {args.name!r} in the scene {scene!r}: session {args.session}, {args.width}x{args.height}")
    return 0


def _settings(args: argparse.Namespace) -> _Settings:
    """OBS's own names. Without sound, and never reloaded: the overlay knows by itself what to do when it is hidden."""
    config = from_environment(None, token=args.token)
    base = args.url or f"http://127.0.0.1:{config.port}"
    options = {"session": args.session, "fit": args.fit, "mirror": int(args.mirror), "token": config.token}
    fragment = urlencode({name: value for name, value in options.items() if value and value != "contain"})
    return {
        "is_local_file": False,
        "url": f"{base}/overlay.html#{fragment}",
        "width": args.width,
        "height": args.height,
        "fps_custom": args.fps is not None,
        **({} if args.fps is None else {"fps": args.fps}),
        "css": "",
        "reroute_audio": False,
        "shutdown": False,
        "restart_when_active": False,
    }


def _scene(obs: obsws_python.ReqClient, wanted: str | None) -> str:
    found = obs.get_scene_list()
    names = [scene["sceneName"] for scene in reversed(found.scenes)]  # OBS lists them from the bottom up
    if wanted is None:
        return str(found.current_program_scene_name)
    if wanted not in names:
        known = ", ".join(map(repr, names))
        raise ConfigError("obs_no_scene", f"OBS has no scene {wanted!r}, but {known}", field="scene")
    return wanted


def _put(obs: obsws_python.ReqClient, scene: str, name: str, settings: _Settings) -> Literal["added", "updated"]:
    """Make the source what it should be, wherever it is, and see that the scene has it."""
    kinds = {each["inputName"]: each["unversionedInputKind"] for each in obs.get_input_list().inputs}
    if name not in kinds:
        _create(obs, scene, name, settings)
        return "added"
    if kinds[name] != _KIND:
        taken = f"{name!r} in OBS is no Browser source but {kinds[name]}; choose another --name"
        raise ConfigError("obs_name_taken", taken, field="name")
    obs.set_input_settings(name, settings, True)
    if all(item["sourceName"] != name for item in obs.get_scene_item_list(scene).scene_items):
        obs.create_scene_item(scene, name, True)
    return "updated"


def _create(obs: obsws_python.ReqClient, scene: str, name: str, settings: _Settings) -> None:
    if _KIND not in obs.get_input_kind_list(True).input_kinds:
        raise ConfigError("obs_no_browser", "this OBS has no Browser sources; install its browser plugin")
    try:
        obs.create_input(scene, name, _KIND, settings, True)
    except OBSSDKRequestError as error:
        if error.code != _NAME_TAKEN:
            raise
        taken = f"{name!r} in OBS is the name of a scene or group; choose another --name"
        raise ConfigError("obs_name_taken", taken, field="name") from None


@contextmanager
def _connected(args: argparse.Namespace) -> Iterator[obsws_python.ReqClient]:
    # The library logs what it raises, with tracebacks, and connection parameters, with the password.
    logging.getLogger("obsws_python").setLevel(logging.CRITICAL + 1)
    at, password = f"{args.obs_host}:{args.obs_port}", args.obs_password or obs_password()
    try:
        obs = obsws_python.ReqClient(host=args.obs_host, port=args.obs_port, password=password, timeout=_TIMEOUT_S)
    except OBSSDKError:
        fact = "refuses this password" if password else "asks for a password"
        hint = "it stands in Tools, WebSocket Server Settings; --obs-password or OBS_WEBSOCKET_PASSWORD names it"
        raise ConfigError("obs_password", f"OBS at {at} {fact}: {hint}", field="obs_password") from None
    except (OSError, WebSocketException):
        hint = "is it running, with Tools, WebSocket Server Settings, Enable WebSocket server?"
        raise ConfigError("obs_unreachable", f"no OBS answers at {at}: {hint}", field="obs_port") from None
    except (ValueError, KeyError):
        raise ConfigError("obs_unreachable", f"what answers at {at} is no OBS", field="obs_port") from None
    try:
        yield obs
    except (OBSSDKTimeoutError, OSError, WebSocketException, ValueError) as error:
        raise ConfigError("obs_failed", f"the connection to OBS at {at} was lost: {error}") from None
    except OBSSDKError as error:
        raise ConfigError("obs_failed", f"OBS at {at}: {error}") from None
    finally:
        obs.disconnect()


def _session(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"must be 1 to 64 letters, digits, _ or -, got {text!r}")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"must look like http://127.0.0.1:8188, got {text!r}")
    return text.partition("#")[0].rstrip("/")


def _port(text: str) -> int:
    return _whole(text, 1, 65_535)


def _side(text: str) -> int:
    return _whole(text, 16, _MAX_SIDE)


def _fps(text: str) -> int:
    return _whole(text, 1, 60)


def _whole(text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}, got {text!r}")
    return int(text)
