"""Pictures from the prompt alone, with nothing sent and the prompt changed on the way:
`python docs/examples/prompt_stream.py`."""

import asyncio

import streamgen


async def main(url: str = "ws://127.0.0.1:8188/ws") -> None:
    async with streamgen.connect(url, source="prompt", prompt="great wave", seed_speed=0.5, max_fps=20) as stream:
        for number in range(20):
            output = await anext(stream)
            print(output.seq, output.pixels.shape, f"brightness {output.pixels.mean() / 255:.2f}")
            if number == 9:
                await stream.update(prompt="neon", transition_ms=500)


if __name__ == "__main__":
    asyncio.run(main())
