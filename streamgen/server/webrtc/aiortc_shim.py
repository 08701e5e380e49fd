"""What live video needs and aiortc 1.16 lacks, put in place by one call of ``install()``.

=====================  ======================================================  ==================================
what                   aiortc's own                                            here
=====================  ======================================================  ==================================
release of a frame     with the next frame's first packet: a frame interval    with its marker (``jitter``)
lost packets           asked for once; else a freeze of 512 packets            asked for, given up after 0.15 s
decoder's input        unbounded                                               skips to a keyframe past a bound
received pictures      an unbounded queue                                      the newest replaces one that waits
received sound         always decoded                                          ``keep_encoded`` leaves it alone
playout delay          not said                                                0 to 0 ms
encoders               x264 at its default preset, 30 fps, 1 Mb/s              ``encoders``, in their own threads
a frame's RTP time     not told                                                ``SendingTrack.on_sending``
capture times          not told                                                ``captured_us``
data channel packets   1160 bytes, too long for some tunnels                   1100 bytes
=====================  ======================================================  ==================================

Everything that touches aiortc's inside is in this module, but for the addresses and ports of ``ice``.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import aiortc
import av
from aiortc import codecs, rtcpeerconnection, rtcrtpreceiver, rtcrtpsender, rtcsctptransport, rtp
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters

from streamgen.errors import BackendUnavailable
from streamgen.server.webrtc.encoders import CLOCK_RATE, VideoEncoder, VideoPicture
from streamgen.server.webrtc.jitter import EncodedFrame, NackSchedule, VideoJitterBuffer, is_keyframe

__all__ = [
    "KNOWN",
    "MENDS",
    "SendingTrack",
    "captured_us",
    "check_version",
    "install",
    "keep_encoded",
    "offered_to_receive",
    "prefer_codec",
    "set_apart",
    "signs_of_life",
]

_LOG = logging.getLogger(__name__)

KNOWN = (1, 16)
"""The versions of aiortc whose inside is known here."""
PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
_PLAYOUT_DELAY_ID = 4
_PLAYOUT_0_TO_0 = bytes(3)  # 12 bits of least delay, 12 bits of most, in hundredths of a second
_MAX_WAITING_FRAMES = 15
_HISTORY_PACKETS = 1024
_SCTP_BYTES = 1100
_NTP_EPOCH_S = 2_208_988_800
_ENCODING = ThreadPoolExecutor(2, thread_name_prefix="streamgen-video")


def install(mends: Iterable[str] | None = None) -> None:
    """Put everything in place, for all of the process. A second call changes nothing.

    Args:
        mends: names in ``MENDS``; None for all of them. Fewer are for measuring what one is worth.

    Raises:
        BackendUnavailable: ``aiortc_unknown`` for a version whose inside is not known; nothing is touched then.
    """
    check_version()
    for name in MENDS if mends is None else mends:
        MENDS[name]()


def check_version() -> None:
    """Raises:
    BackendUnavailable: ``aiortc_unknown`` for a version whose inside is not known.
    """
    version = tuple(int(part) for part in aiortc.__version__.split(".")[:2])
    if version != KNOWN:
        known = ".".join(map(str, KNOWN))
        raise BackendUnavailable("aiortc_unknown", f"WebRTC needs aiortc {known}, found {aiortc.__version__}")


def _mend_receiving() -> None:
    receiving: Any = rtcrtpreceiver
    receiving.JitterBuffer = _jitter_buffer
    receiving.NackGenerator = NackSchedule


def _mend_queues() -> None:
    receiving: Any = rtcrtpreceiver
    receiving.decoder_worker = _decode_all
    receiving.TimestampMapper = _RtpTime
    connecting: Any = rtcpeerconnection
    connecting.RTCRtpReceiver = _Receiver


def _mend_sending() -> None:
    connecting: Any = rtcpeerconnection
    connecting.RTCRtpSender = _Sender
    sending: Any = rtcrtpsender
    sending.RTP_HISTORY_SIZE = _HISTORY_PACKETS


def _mend_playout() -> None:
    if all(extension.uri != PLAYOUT_DELAY for extension in codecs.HEADER_EXTENSIONS["video"]):
        offered = RTCRtpHeaderExtensionParameters(id=_PLAYOUT_DELAY_ID, uri=PLAYOUT_DELAY)
        codecs.HEADER_EXTENSIONS["video"].append(offered)


def _mend_channel() -> None:
    rtcsctptransport.USERDATA_MAX_LENGTH = _SCTP_BYTES


MENDS: Mapping[str, Callable[[], None]] = {
    "receiving": _mend_receiving,
    "queues": _mend_queues,
    "sending": _mend_sending,
    "playout": _mend_playout,
    "channel": _mend_channel,
}
"""By name. When aiortc mends something, its line goes. What ``receiving`` hands on together, only ``queues`` takes."""


# -------------------------------------------------------------------------------------------------------- a connection


def offered_to_receive(transceiver: Any) -> bool:
    """Whether the offer takes media in this section."""
    return transceiver._offerDirection in ("sendonly", "sendrecv")  # as seen from here


def prefer_codec(transceiver: Any, wanted: str) -> None:
    """Put ``vp8`` or ``h264`` first, with which aiortc then sends; ``auto`` leaves the order to the offer."""

    def is_other(codec: Any) -> bool:
        repeated = codec.parameters.get("apt")  # by a retransmission codec
        main = next((each for each in transceiver._codecs if each.payloadType == repeated), codec)
        return bool(main.name.lower() != wanted)

    if wanted != "auto":
        transceiver._codecs = sorted(transceiver._codecs, key=is_other)


def set_apart(sender: Any, name: str) -> None:
    """Send a track in a MediaStream of its own."""
    sender._stream_id = f"{sender._stream_id}-{name}"


def signs_of_life(connection: aiortc.RTCPeerConnection) -> int:
    """A number that grows with whatever arrives."""
    transports: set[Any] = {transceiver.receiver.transport for transceiver in connection.getTransceivers()}
    if connection.sctp is not None:
        transports.add(connection.sctp.transport)
    return sum(
        int(transport._RTCDtlsTransport__rx_bytes) + int(transport.transport._connection.checks_received)
        for transport in transports
    )


# ------------------------------------------------------------------------------------------------------------ receiving


def keep_encoded(track: MediaStreamTrack) -> None:
    """Have a received track give packets as they came instead of decoding them. Call it before the first arrives."""
    track._queue.keep_encoded = True  # type: ignore[attr-defined]


def captured_us(receiver: Any, rtp_timestamp: int) -> int:
    """When the sender captured what carries this RTP timestamp: its clock, Unix microseconds, as its last sender report
    ties the two; 0 before the first report."""
    clock = getattr(receiver, "sender_clock", None)
    if clock is None:
        return 0
    ntp, reported = clock
    seconds: float = ntp / 2**32 - _NTP_EPOCH_S + _step(reported, rtp_timestamp) / CLOCK_RATE
    return max(0, round(seconds * 1e6))


class _Receiver(rtcrtpreceiver.RTCRtpReceiver):
    """Remembers how the sender's clock and its timestamps belong together."""

    sender_clock: tuple[int, int] | None = None

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        if isinstance(packet, rtp.RtcpSrPacket):
            self.sender_clock = (packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp)
        await super()._handle_rtcp_packet(packet)


class _RtpTime:
    """Counts RTP timestamps on beyond 32 bits, so that a frame's ``pts`` still tells its own."""

    def __init__(self) -> None:
        self._last: int | None = None

    def map(self, timestamp: int) -> int:
        if self._last is None:
            self._last = timestamp
        self._last += _step(self._last, timestamp)
        return self._last


def _step(before: int, after: int) -> int:
    """From one RTP timestamp of 32 bits to another, forwards or back."""
    step = (after - before) & 0xFFFFFFFF
    return step if step < 0x80000000 else step - 0x100000000


def _jitter_buffer(capacity: int, prefetch: int = 0, is_video: bool = False) -> Any:
    return VideoJitterBuffer(capacity) if is_video else JitterBuffer(capacity, prefetch)


def _decode_all(
    loop: asyncio.AbstractEventLoop,
    input_q: queue.Queue[Any],
    output_q: asyncio.Queue[Any],
    decode_error: threading.Event,
) -> None:
    """The decoding thread of one track: every frame in order, unless it falls behind."""
    decoders: dict[str, Any] = {}
    skipping = False
    while (task := input_q.get()) is not None:
        codec, first = task
        video = codec.mimeType.lower().startswith("video/")
        if getattr(output_q, "keep_encoded", False):
            loop.call_soon_threadsafe(_put, output_q, _packet(codec, first), video)
            continue
        for frame in _in_order(first):
            if video and (skipping or input_q.qsize() > _MAX_WAITING_FRAMES):
                skipping = not is_keyframe(frame.data)
                if skipping:
                    decode_error.set()  # has a keyframe asked for
                    continue
            try:
                if codec.name not in decoders:
                    decoders = {codec.name: _decoder(codec)}
                decoded = decoders[codec.name].decode(frame)
            except av.FFmpegError as error:
                _LOG.debug("a %s frame could not be decoded: %s", codec.name, error)
                decode_error.set()
                continue
            for picture in decoded:
                loop.call_soon_threadsafe(_put, output_q, picture, video)
    loop.call_soon_threadsafe(output_q.put_nowait, None)


def _in_order(first: Any) -> list[Any]:
    """A frame, and those that became complete with it, on its extended clock."""
    following = getattr(first, "following", [])
    at = first.timestamp
    return [first] + [EncodedFrame(frame.data, at + _step(at, frame.timestamp)) for frame in following]


def _decoder(codec: Any) -> Any:
    decoder: Any = codecs.get_decoder(codec)
    if codec.name in ("H264", "VP8"):
        decoder.codec.thread_type = "SLICE"  # frame threads would each hold a frame back
    return decoder


def _packet(codec: Any, frame: Any) -> Any:
    packet: Any = av.Packet(frame.data)
    packet.pts, packet.time_base = frame.timestamp, Fraction(1, codec.clockRate)
    return packet


def _put(output_q: asyncio.Queue[Any], item: Any, video: bool) -> None:
    """Newest wins: one picture waits, or a second of sound."""
    while output_q.qsize() >= (1 if video else 50):
        output_q.get_nowait()
    output_q.put_nowait(item)


# -------------------------------------------------------------------------------------------------------------- sending


class SendingTrack(MediaStreamTrack):
    """A video track whose pictures are encoded here."""

    kind = "video"

    def __init__(self, make_encoder: Callable[[Any], VideoEncoder]) -> None:
        """Args:
        make_encoder: given aiortc's codec parameters.
        """
        super().__init__()
        self.make_encoder = make_encoder
        self.encoder: VideoEncoder | None = None

    @abstractmethod
    async def recv(self) -> Any:
        """The next picture as something that ``prepare`` takes."""

    @abstractmethod
    def prepare(self, item: Any) -> VideoPicture:
        """Called in the encoding thread."""

    @abstractmethod
    def on_encoded(self, item: Any, encode_ms: float) -> None:
        """The picture left the encoder."""

    @abstractmethod
    def on_failed(self, error: Exception) -> None:
        """Nothing more is sent, because a picture could not be encoded."""

    @abstractmethod
    def on_sending(self, item: Any, rtp_timestamp: int) -> None:
        """The picture's packets leave now under this timestamp, or, of the first one, have left."""


class _PlayoutDelay(rtp.HeaderExtensionsMap):
    """Says with every packet that it is to be shown at once."""

    def __init__(self) -> None:
        super().__init__()
        self._playout_delay_id = 0

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        agreed = [extension.id for extension in parameters.headerExtensions if extension.uri == PLAYOUT_DELAY]
        self._playout_delay_id = agreed[0] if agreed else 0

    def set(self, values: rtp.HeaderExtensions) -> tuple[int, bytes]:
        profile, value = super().set(values)
        if not self._playout_delay_id:
            return profile, value
        known = rtp.unpack_header_extensions(profile, value) if profile else []
        return rtp.pack_header_extensions([*known, (self._playout_delay_id, _PLAYOUT_0_TO_0)])


class _Sender(rtcrtpsender.RTCRtpSender):
    """Sends a ``SendingTrack`` through its own encoder; every other track as aiortc does."""

    _RTCRtpSender__encoder: Any
    _RTCRtpSender__force_keyframe: bool
    _RTCRtpSender__rtp_timestamp: int

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._RTCRtpSender__rtp_header_extensions_map = _PlayoutDelay()
        self._first: tuple[Any, int] | None = None  # until it is sent
        self._origin: int | None = None

    async def _next_encoded_frame(self, codec: Any) -> Any:
        track = self.track
        if not isinstance(track, SendingTrack):
            return await super()._next_encoded_frame(codec)
        if self._first is not None:
            # aiortc adds a random origin to the timestamps; the first frame, which is out by now, tells it.
            item, timestamp = self._first
            self._first, sent = None, self._RTCRtpSender__rtp_timestamp
            self._origin = (sent - timestamp) & 0xFFFFFFFF
            track.on_sending(item, sent)
        item = await track.recv()
        if self._RTCRtpSender__encoder is None:
            self._RTCRtpSender__encoder = track.encoder = track.make_encoder(codec)
        forced, self._RTCRtpSender__force_keyframe = self._RTCRtpSender__force_keyframe, False
        loop = asyncio.get_running_loop()
        try:
            payloads, timestamp, took_ms = await loop.run_in_executor(
                _ENCODING, _encode, self._RTCRtpSender__encoder, track, item, forced
            )
        except Exception as error:  # aiortc would end the sender, and nobody would hear of it
            track.on_failed(error)
            raise
        track.on_encoded(item, took_ms)
        if not payloads:
            return None
        if self._origin is None:
            self._first = (item, timestamp)
        else:
            track.on_sending(item, (self._origin + timestamp) & 0xFFFFFFFF)
        return rtcrtpsender.RTCEncodedFrame(payloads, timestamp, None)  # type: ignore[arg-type]

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        encoder = getattr(self.track, "encoder", None)
        if encoder is not None and isinstance(packet, (rtp.RtcpRrPacket, rtp.RtcpSrPacket)):
            for report in packet.reports:
                if report.ssrc == self._ssrc:
                    encoder.report_loss(report.fraction_lost / 256)
        await super()._handle_rtcp_packet(packet)


def _encode(encoder: VideoEncoder, track: SendingTrack, item: Any, forced: bool) -> tuple[list[bytes], int, float]:
    started_s = time.perf_counter()
    payloads, timestamp = encoder.encode(track.prepare(item), forced)
    return payloads, timestamp, (time.perf_counter() - started_s) * 1000
