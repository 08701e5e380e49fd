"""``streamgen obs`` through the real client library, against a small OBS that speaks obs-websocket 5 on loopback."""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from streamgen.cli.app import main
from streamgen.config import obs_password

# The library leaves the socket of a connection that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

PASSWORD = "s3cret"
HELLO, IDENTIFY, IDENTIFIED, REQUEST, RESPONSE = 0, 1, 2, 6, 7
AUTHENTICATION_FAILED = 4009
NOT_FOUND, TAKEN = 600, 601
RPC = {"obsWebSocketVersion": "5.5.0", "rpcVersion": 1}


class Refused(Exception):
    """A request that OBS answers with a code."""

    def __init__(self, code: int, comment: str) -> None:
        super().__init__(comment)
        self.code = code


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@dataclass
class FakeOBS:
    """The state that the requests look at and change.

    Args:
        scenes: their sources, by name, in the order of OBS's window.
        inputs: kind and settings, by name.
        answers: what answers a request instead of a method of that name.
    """

    password: str = ""
    scenes: dict[str, list[str]] = field(default_factory=lambda: {"Live": ["Camera"], "Break": []})
    inputs: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=lambda: {"Camera": ("v4l2_input", {})})
    kinds: tuple[str, ...] = ("v4l2_input", "browser_source")
    on_air: str = "Live"
    requests: list[str] = field(default_factory=list)
    answers: dict[str, Callable[..., Any]] = field(default_factory=dict)
    port: int = 0

    def talk(self, client: ServerConnection) -> None:
        challenge = {"challenge": "a challenge", "salt": "some salt"}
        client.send(json.dumps({"op": HELLO, "d": RPC | ({"authentication": challenge} if self.password else {})}))
        said = json.loads(client.recv())
        assert said["op"] == IDENTIFY
        if self.password and said["d"].get("authentication") != digest(
            digest(self.password + "some salt") + "a challenge"
        ):
            client.close(AUTHENTICATION_FAILED, "Authentication failed.")
            return
        client.send(json.dumps({"op": IDENTIFIED, "d": {"negotiatedRpcVersion": 1}}))
        for text in client:
            client.send(json.dumps({"op": RESPONSE, "d": self.answer(json.loads(text)["d"])}))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["requestType"]
        self.requests.append(name)
        answer = {"requestType": name, "requestId": request["requestId"]}
        try:
            data = self.answers.get(name, getattr(self, name))(**request.get("requestData", {}))
        except Refused as refused:
            status = {"result": False, "code": refused.code, "comment": str(refused)}
            return answer | {"requestStatus": status}
        return answer | {"requestStatus": {"result": True, "code": 100}, "responseData": data or {}}

    def GetSceneList(self) -> dict[str, Any]:
        scenes = [{"sceneName": name, "sceneIndex": index} for index, name in enumerate(reversed(self.scenes))]
        return {"currentProgramSceneName": self.on_air, "currentPreviewSceneName": None, "scenes": scenes}

    def GetInputList(self, inputKind: str | None) -> dict[str, Any]:
        assert inputKind is None
        return {
            "inputs": [
                {"inputName": name, "inputKind": kind, "unversionedInputKind": kind}
                for name, (kind, _) in self.inputs.items()
            ]
        }

    def GetInputKindList(self, unversioned: bool) -> dict[str, Any]:
        assert unversioned
        return {"inputKinds": list(self.kinds)}

    def CreateInput(
        self, sceneName: str, inputName: str, inputKind: str, inputSettings: dict[str, Any], sceneItemEnabled: bool
    ) -> dict[str, Any]:
        assert sceneItemEnabled
        if inputName in self.inputs or inputName in self.scenes:
            raise Refused(TAKEN, "A source already exists by that input name.")
        self.inputs[inputName] = (inputKind, inputSettings)
        self.scenes[sceneName].append(inputName)
        return {"sceneItemId": 1}

    def SetInputSettings(self, inputName: str, inputSettings: dict[str, Any], overlay: bool) -> None:
        kind, settings = self.inputs[inputName]
        self.inputs[inputName] = (kind, (settings if overlay else {}) | inputSettings)

    def GetSceneItemList(self, sceneName: str) -> dict[str, Any]:
        return {"sceneItems": [{"sourceName": name} for name in self.scenes[sceneName]]}

    def CreateSceneItem(self, sceneName: str, sourceName: str, sceneItemEnabled: bool) -> dict[str, Any]:
        assert sceneItemEnabled
        self.scenes[sceneName].append(sourceName)
        return {"sceneItemId": 2}


@contextmanager
def running(obs: FakeOBS) -> Iterator[FakeOBS]:
    def talk(client: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            obs.talk(client)

    # The library ends its connection without the closing handshake, which need not be waited for.
    with serve(talk, "127.0.0.1", 0, close_timeout=0.1) as server:
        obs.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield obs
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def obs() -> Iterator[FakeOBS]:
    with running(FakeOBS()) as made:
        yield made


def add(obs: FakeOBS, *options: str, session: str = "studio") -> int:
    return main(["obs", "add-source", "--session", session, "--obs-port", str(obs.port), *options])


def shown(obs: FakeOBS, name: str = "streamgen") -> dict[str, Any]:
    kind, settings = obs.inputs[name]
    assert kind == "browser_source"
    return settings


def failure(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command left which failed."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("streamgen: ") and said.err.count("\n") == 1, said.err
    return said.err


def test_a_browser_source_is_added_to_the_scene_on_air(obs: FakeOBS, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(obs) == 0
    assert obs.scenes == {"Live": ["Camera", "streamgen"], "Break": []}
    assert shown(obs) == {
        "is_local_file": False,
        "url": "http://127.0.0.1:8188/overlay.html#session=studio",
        "width": 1280,
        "height": 720,
        "fps_custom": False,
        "css": "",
        "reroute_audio": False,
        "shutdown": False,
        "restart_when_active": False,
    }
    assert capsys.readouterr().out == "added the source 'streamgen' in the scene 'Live': session studio, 1280x720\n"


def test_every_choice_arrives(obs: FakeOBS, capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--width", "640", "--height", "360", "--fps", "25")
    look = ("--fit", "cover", "--mirror", "--token", "a&b#c", "--url", "https://gpu.example:8443/")
    assert add(obs, "--name", "Look", "--scene", "Break", *size, *look) == 0
    assert obs.scenes["Break"] == ["Look"]
    settings = shown(obs, "Look")
    assert (settings["width"], settings["height"], settings["fps_custom"], settings["fps"]) == (640, 360, True, 25)
    address, _, fragment = settings["url"].partition("#")
    assert address == "https://gpu.example:8443/overlay.html"
    assert parse_qs(fragment) == {"session": ["studio"], "fit": ["cover"], "mirror": ["1"], "token": ["a&b#c"]}
    assert "a&b#c" not in capsys.readouterr().out


def test_the_server_is_the_one_the_environment_tells_of(obs: FakeOBS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMGEN_PORT", "9000")
    monkeypatch.setenv("STREAMGEN_TOKEN", "known")
    assert add(obs) == 0
    assert shown(obs)["url"] == "http://127.0.0.1:9000/overlay.html#session=studio&token=known"


def test_a_source_of_that_name_is_updated_and_stays_one(obs: FakeOBS, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(obs) == 0
    obs.inputs["streamgen"][1]["set by hand"] = True
    capsys.readouterr()
    assert add(obs, "--width", "640", session="other") == 0
    assert obs.scenes["Live"] == ["Camera", "streamgen"]
    assert shown(obs)["url"].endswith("#session=other")
    assert (shown(obs)["width"], shown(obs)["set by hand"]) == (640, True)
    assert capsys.readouterr().out.startswith("updated the source 'streamgen' in the scene 'Live'")


def test_a_source_of_another_scene_is_shown_in_this_one_too(obs: FakeOBS) -> None:
    assert add(obs, "--scene", "Break") == 0
    assert add(obs) == 0
    assert obs.scenes == {"Live": ["Camera", "streamgen"], "Break": ["streamgen"]}


def test_the_password_is_told_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(FakeOBS(PASSWORD)) as obs:
        assert add(obs, "--obs-password", PASSWORD) == 0
        monkeypatch.setenv("OBS_WEBSOCKET_PASSWORD", PASSWORD)
        assert add(obs) == 0


def test_without_the_variable_there_is_no_password() -> None:
    assert obs_password({}) == ""
    assert obs_password({"OBS_WEBSOCKET_PASSWORD": PASSWORD}) == PASSWORD


@pytest.mark.parametrize(
    ("options", "fact"), [((), "asks for a password"), (("--obs-password", "wr0ng"), "refuses this password")]
)
def test_a_wrong_password_gets_one_line(
    options: tuple[str, ...], fact: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OBS_WEBSOCKET_PASSWORD", raising=False)
    with running(FakeOBS(PASSWORD)) as obs:
        assert add(obs, *options) == 2
    line = failure(capsys)
    assert fact in line and "WebSocket Server Settings" in line and "wr0ng" not in line


def test_an_obs_that_does_not_run_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert add(FakeOBS(port=port)) == 2
    assert f"no OBS answers at 127.0.0.1:{port}" in failure(capsys)


def test_something_else_that_answers_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Parrot(FakeOBS):
        def talk(self, client: ServerConnection) -> None:
            client.send("hello yourself")

    with running(Parrot()) as obs:
        assert add(obs) == 2
    assert "is no OBS" in failure(capsys)


def test_an_unknown_scene_gets_one_line_that_names_the_others(obs: FakeOBS, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(obs, "--scene", "Studio") == 2
    assert "OBS has no scene 'Studio', but 'Live', 'Break'" in failure(capsys)
    assert "streamgen" not in obs.inputs


@pytest.mark.parametrize(
    ("name", "fact"), [("Camera", "no Browser source but v4l2_input"), ("Break", "a scene or group")]
)
def test_a_name_that_means_something_else_is_left_alone(
    obs: FakeOBS, name: str, fact: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(obs, "--name", name) == 2
    assert fact in failure(capsys)
    assert obs.inputs == {"Camera": ("v4l2_input", {})}


def test_an_obs_without_browser_sources_gets_one_line(obs: FakeOBS, capsys: pytest.CaptureFixture[str]) -> None:
    obs.kinds = ("v4l2_input",)
    assert add(obs) == 2
    assert "no Browser sources" in failure(capsys)


def test_another_refusal_is_told_in_obs_own_words(obs: FakeOBS, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(**_: Any) -> None:
        raise Refused(NOT_FOUND, "No such thing.")

    obs.answers["CreateInput"] = refuse
    assert add(obs) == 2
    assert "No such thing." in failure(capsys)


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        (("--url", "ftp://host"), "must look like http://127.0.0.1:8188, got 'ftp://host'"),
        (("--width", "0"), "must be a whole number from 16 to 8192, got '0'"),
        (("--fps", "61"), "must be a whole number from 1 to 60, got '61'"),
        (("--obs-port", "many"), "must be a whole number from 1 to 65535, got 'many'"),
        (("--session", "my cam"), "letters, digits, _ or -, got 'my cam'"),
    ],
)
def test_a_bad_option_gets_one_line(options: tuple[str, ...], fact: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["obs", "add-source", "--session", "cam", *options]) == 2
    assert fact in failure(capsys)


def test_a_missing_library_gets_one_line_that_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "streamgen.cli.obs", raising=False)
    monkeypatch.setitem(sys.modules, "obsws_python", None)
    assert main(["obs", "add-source", "--session", "cam"]) == 2
    line = failure(capsys)
    assert "needs the package obsws_python" in line and "pip install '.[obs]'" in line
