"""The server over real sockets, with a fake worker."""

from __future__ import annotations

import simplejpeg

from streamgen.frames import Pixels
from streamgen.wire import Codec, Kind
from tests.server.conftest import Running


async def test_a_frame_comes_back_as_an_output(server: Running, picture: Pixels) -> None:
    peer = await server.publisher()
    await peer.frame(picture, seq=0, captured_us=1_780_000_000_123_456)
    assert await peer.hear("ack") == {"type": "ack", "seq": 0}
    header, payload = await peer.see()
    assert (header.kind, header.codec, header.width, header.height) == (Kind.OUTPUT, Codec.JPEG, 256, 256)
    assert (header.seq, header.source_seq, header.captured_us) == (0, 0, 1_780_000_000_123_456)
    assert (header.queue_us, header.engine_us) == (1500, 2500)
    assert header.encode_us > 0
    assert simplejpeg.decode_jpeg(payload).shape == (256, 256, 3)
