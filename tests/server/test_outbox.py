"""What waits for one client: bounds, order, credits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from streamgen.frames import Output
from streamgen.metrics import Histogram, StageTimes
from streamgen.protocol import Bye, Close, Paused, Updated, WarningMessage
from streamgen.server.outbox import MAX_MESSAGES, Delivery, End, Outbox
from streamgen.server.picture import CodecPool, Picture
from streamgen.settings import StreamSettings
from streamgen.wire import Codec, Flags, parse_frame
from tests.server.conftest import Clock

WARNING = WarningMessage(code="x", message="y")


@pytest.fixture
def pool() -> Iterator[CodecPool]:
    pool = CodecPool()
    yield pool
    pool.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(clock: Clock) -> Outbox:
    return Outbox(4.0, clock)


class Studio:
    """Makes pictures."""

    def __init__(self, pool: CodecPool) -> None:
        self.pool = pool
        self.stages = StageTimes()

    def picture(self, seq: int = 0, channels: int = 3) -> Picture:
        return Picture(Output(np.full((32, 32, channels), 100, np.uint8), seq=seq), 85, self.pool, self.stages)


@pytest.fixture
def studio(pool: CodecPool) -> Studio:
    return Studio(pool)


async def is_idle(outbox: Outbox) -> bool:
    waiting = asyncio.create_task(outbox.next())
    await asyncio.sleep(0)
    idle = not waiting.done()
    waiting.cancel()
    return idle


async def deliver(outbox: Outbox) -> Delivery:
    item = await asyncio.wait_for(outbox.next(), 5)
    assert isinstance(item, Delivery)
    return item


async def test_without_credit_the_newest_picture_waits_and_the_others_are_counted(
    outbox: Outbox, studio: Studio
) -> None:
    for seq in range(2):
        outbox.offer(studio.picture(seq), gap=False)
        assert (await deliver(outbox)).picture.output.seq == seq
    for seq in range(2, 7):
        outbox.offer(studio.picture(seq), gap=False)
    assert await is_idle(outbox)
    assert outbox.drops == {"no_credit": 4}
    outbox.acknowledged(0)
    delivery = await deliver(outbox)
    assert (delivery.picture.output.seq, delivery.seq, delivery.flags) == (6, 2, Flags.GAP_BEFORE)


async def test_nothing_is_encoded_for_a_client_without_credit(outbox: Outbox, studio: Studio) -> None:
    for seq in range(2):
        outbox.offer(studio.picture(seq), gap=False)
        await (await deliver(outbox)).seal()
    for seq in range(2, 9):
        outbox.offer(studio.picture(seq), gap=False)
    assert await is_idle(outbox)
    outbox.acknowledged(1)
    await (await deliver(outbox)).seal()
    assert len(studio.stages._stages["encode_ms"]) == 3


async def test_a_picture_is_encoded_once_for_all_who_want_the_same(clock: Clock, studio: Studio) -> None:
    picture = studio.picture()
    outboxes = [Outbox(4.0, clock) for _ in range(5)]
    outboxes[4].codec = Codec.RAW
    for outbox in outboxes:
        outbox.offer(picture, gap=False)
    messages = await asyncio.gather(*[(await deliver(outbox)).seal() for outbox in outboxes])
    assert len({message for message in messages}) == 2
    assert len(studio.stages._stages["encode_ms"]) == 2
    header, payload = parse_frame(messages[4])
    assert (header.codec, len(payload)) == (Codec.RAW, 32 * 32 * 3)


async def test_alpha_goes_packed_to_those_who_can_unpack_it_and_over_black_to_all_others(
    clock: Clock, studio: Studio
) -> None:
    picture = studio.picture(channels=4)
    outboxes = [Outbox(4.0, clock) for _ in range(6)]
    for index, outbox in enumerate(outboxes):
        outbox.alpha = index < 4
        outbox.codec = Codec.RAW if index in (2, 3, 5) else Codec.JPEG
        outbox.offer(picture, gap=False)
    messages = await asyncio.gather(*[(await deliver(outbox)).seal() for outbox in outboxes])
    headers = [parse_frame(message)[0] for message in messages]
    assert [(header.width, header.height, header.flags) for header in headers] == [(64, 32, Flags.ALPHA)] * 4 + [
        (32, 32, Flags.NONE)
    ] * 2
    assert len(studio.stages._stages["encode_ms"]) == 4  # once for all who want the same
    assert bytes(parse_frame(messages[2])[1]) == bytes([100]) * (64 * 32 * 3)
    assert bytes(parse_frame(messages[5])[1]) == bytes([39]) * (32 * 32 * 3)


async def test_a_picture_without_alpha_is_the_same_to_all(clock: Clock, studio: Studio) -> None:
    picture = studio.picture()
    outboxes = [Outbox(4.0, clock) for _ in range(2)]
    outboxes[0].alpha = True
    for outbox in outboxes:
        outbox.offer(picture, gap=False)
    messages = await asyncio.gather(*[(await deliver(outbox)).seal() for outbox in outboxes])
    assert messages[0] == messages[1] and parse_frame(messages[0])[0].flags is Flags.NONE
    assert len(studio.stages._stages["encode_ms"]) == 1


async def test_a_subscriber_that_leaves_does_not_take_the_encoding_with_it(outbox: Outbox, studio: Studio) -> None:
    picture = studio.picture()
    leaving = asyncio.create_task(picture.encoded(Codec.JPEG))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await picture.encoded(Codec.JPEG)).payload


async def test_after_the_ack_timeout_the_second_credit_is_not_given_either(
    outbox: Outbox, clock: Clock, studio: Studio
) -> None:
    outbox.offer(studio.picture(0), gap=False)
    await deliver(outbox)
    clock.now_s += 4.1
    outbox.offer(studio.picture(1), gap=False)
    assert await is_idle(outbox)
    outbox.acknowledged(0)
    assert (await deliver(outbox)).picture.output.seq == 1


async def test_a_rest_of_the_publisher_is_no_ack_timeout(outbox: Outbox, clock: Clock, studio: Studio) -> None:
    outbox.offer(studio.picture(0), gap=False)
    await deliver(outbox)
    outbox.acknowledged(0)
    clock.now_s += 100
    for seq in (1, 2):
        outbox.offer(studio.picture(seq), gap=False)
        assert (await deliver(outbox)).picture.output.seq == seq


async def test_messages_go_before_pictures_and_in_order(outbox: Outbox, studio: Studio) -> None:
    outbox.offer(studio.picture(), gap=False)
    outbox.tell(Paused(ref="a"), b"binary")
    assert "paused" in str(await outbox.next())
    assert await outbox.next() == b"binary"
    assert isinstance(await outbox.next(), Delivery)


async def test_one_ack_stands_for_all(outbox: Outbox) -> None:
    for seq in range(100):
        outbox.acknowledge(seq)
    assert await outbox.next() == '{"type":"ack","seq":99}'
    assert await is_idle(outbox)


async def test_newer_settings_replace_older_ones(outbox: Outbox) -> None:
    for rev in range(50):
        outbox.refresh(Updated(rev=rev, settings=StreamSettings()))
    assert '"rev":49' in str(await outbox.next())
    assert await is_idle(outbox)


async def test_a_client_that_reads_no_messages_is_given_up(outbox: Outbox) -> None:
    for _ in range(MAX_MESSAGES + 5):
        outbox.tell(WARNING)
    assert await outbox.next() == End(Close.SLOW, "too slow to read its messages")


async def test_the_end_comes_after_what_was_said_before_and_nothing_after_it(outbox: Outbox, studio: Studio) -> None:
    outbox.tell(WARNING)
    outbox.end(Close.DRAINING, "bye", Bye(reason="shutting_down"))
    outbox.tell(WARNING)
    outbox.offer(studio.picture(), gap=False)
    outbox.end(Close.NORMAL, "again")
    assert "warning" in str(await outbox.next())
    assert "shutting_down" in str(await outbox.next())
    for _ in range(2):
        assert await outbox.next() == End(Close.DRAINING, "bye", said=True)


async def test_a_paused_client_gets_no_picture_and_afterwards_the_newest(outbox: Outbox, studio: Studio) -> None:
    outbox.offer(studio.picture(0), gap=False)
    outbox.pause()
    outbox.offer(studio.picture(1), gap=False)
    assert await is_idle(outbox)
    outbox.resume()
    outbox.offer(studio.picture(2), gap=False)
    delivery = await deliver(outbox)
    assert (delivery.picture.output.seq, delivery.flags) == (2, Flags.GAP_BEFORE)


async def test_what_a_client_says_it_has_painted_is_timed_from_the_frames_arrival(studio: Studio, clock: Clock) -> None:
    seen = Histogram((0.2, 0.5))
    outbox = Outbox(4.0, clock, seen)
    for seq, received_s in enumerate((0.0, clock.now_s)):
        output = Output(np.zeros((32, 32, 3), np.uint8), seq=seq, received_s=received_s)
        outbox.offer(Picture(output, 85, studio.pool, studio.stages), gap=False)
        await deliver(outbox)
    clock.now_s += 0.25
    outbox.painted(0)  # nobody knows when that frame arrived
    assert seen.counts == [0, 0, 0]
    for _ in range(2):  # said twice, and counted once
        outbox.painted(1)
    outbox.painted(7)  # never sent
    assert seen.counts == [0, 1, 0] and seen.sum == pytest.approx(0.25)


async def test_a_picture_that_only_left_the_socket_is_not_taken_for_painted(studio: Studio, clock: Clock) -> None:
    seen = Histogram()
    outbox = Outbox(4.0, clock, seen)
    output = Output(np.zeros((32, 32, 3), np.uint8), received_s=clock.now_s)
    outbox.offer(Picture(output, 85, studio.pool, studio.stages), gap=False)
    outbox.acknowledged((await deliver(outbox)).seq)
    assert not any(seen.counts)
