"""A voice bot on the phone: calls that come in talk to a pipeline of Pipecat.

Run it with ``uvicorn pipecat_bot:app --port 8000``.
"""

import os

from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)
from pipecat.workers.runner import WorkerRunner

from telecmi_async import Flow, Receiver
from telecmi_async.events import InboundRequest
from telecmi_async.voice import Streams
from telecmi_async.voice.pipecat import TelecmiFrameSerializer

ENGINE = os.environ.get("OPENAI_REALTIME_URL", "wss://api.openai.com/v1/realtime")
PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000")
SECRET = os.environ["TELECMI_SECRET"]

receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"], secret=SECRET)
streams = Streams(f"{PUBLIC_URL}/talk", secret=SECRET)
app = FastAPI()
app.mount("/telecmi", receiver.asgi)


@receiver.on_inbound
async def answer(event: InboundRequest) -> Flow:
    """Connect a call with the bot; if the bot fails, the flow goes on, and apologizes."""
    stream = streams.answer(event, rate=16000)
    return stream.speak("Sorry, something went wrong. Please call again.").hangup()


@app.websocket("/talk/{address:path}")
async def talk(websocket: WebSocket) -> None:
    """Serve one call with a pipeline of its own."""
    call = streams.identify(websocket.url.path)
    if call is None:
        await websocket.close()  # refused: the address is not genuine
        return
    await websocket.accept()
    params = FastAPIWebsocketParams(
        serializer=TelecmiFrameSerializer(rate=call.rate),
        audio_in_enabled=True,
        audio_out_enabled=True,
        audio_out_10ms_chunks=10,
    )
    transport = FastAPIWebsocketTransport(websocket, params)
    context = LLMContext([{"role": "user", "content": "You answer the phone. Greet me."}])
    memory = LLMContextAggregatorPair(context)
    engine = OpenAIRealtimeLLMService(api_key=os.environ["OPENAI_API_KEY"], base_url=ENGINE)
    stages = [transport.input(), memory.user(), engine, transport.output(), memory.assistant()]
    worker = PipelineWorker(Pipeline(stages))

    async def greet(*_: object) -> None:
        await worker.queue_frame(LLMRunFrame())

    async def end(*_: object) -> None:
        await worker.cancel()

    transport.add_event_handler("on_client_connected", greet)  # pyright: ignore[reportUnknownMemberType]
    transport.add_event_handler("on_client_disconnected", end)  # pyright: ignore[reportUnknownMemberType]
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
