"""The voice bots of docs/examples/voice as users start them, with fakes of the engines.

Callers and engines talk in real time, over real WebSockets.
"""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import attrs
import pytest
from engine_speech import KEY, Fault
from example_programs import EXAMPLES, VOICE_PROGRAMS
from fake_deepgram import FakeDeepgram
from fake_gemini import FakeGemini
from fake_openai import FakeOpenAI
from program_process import served

from telecmi_async.simulator import Callee, Simulator, Tone, Webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from engine_speech import FakeEngine

    from telecmi_async.simulator import SimulatedCall

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
]

TOKEN = "t" * 43
CALLER, BOT = 12025550101, 19170000000
