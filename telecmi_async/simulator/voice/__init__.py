"""The far end of voice bots: it shares no code with `telecmi_async.voice`, which it tests."""

__all__: list[str] = []
