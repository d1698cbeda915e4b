"""Place a call, and wait until it is known how it went. It runs on the simulator."""

import asyncio

from telecmi_async import CdrPoller, Hangup, Speak
from telecmi_async.simulator import Simulator


async def main() -> None:
    """Call one number."""
    # A minute of the call takes a second.
    simulator = Simulator(seed=7, speed=60)
    async with simulator.service(from_=19170000000, events=CdrPoller()) as service:
        call = await service.make_call(
            to="+1 917 000 0001", pcmo=[Speak("Hello. This is a test."), Hangup()]
        )
        print("accepted:", call.request_id)

        result = await call.ended()
        print("answered:", result.answered)
        print("talk time:", result.talk_seconds, "seconds, cost:", result.cost)


if __name__ == "__main__":
    asyncio.run(main())
