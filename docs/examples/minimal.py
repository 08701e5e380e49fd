"""Sixty frames out, sixty stylised frames back: `python docs/examples/minimal.py`."""

import asyncio

import numpy as np

import streamgen


async def main(url: str = "ws://127.0.0.1:8188/ws") -> None:
    async with streamgen.connect(url, prompt="pencil sketch") as stream:
        for shade in range(0, 240, 4):
            await stream.send(np.full((256, 256, 3), shade, np.uint8))
            output = await anext(stream)
            print(output.seq, output.pixels.shape, f"{output.timing.engine_ms:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
