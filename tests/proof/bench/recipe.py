"""The published recipe's way to report: a task on the event loop that renders and prints a Rich table."""

import asyncio
from datetime import UTC, datetime
from typing import TextIO

from livekit.agents.metrics import RealtimeModelMetrics
from rich.console import Console
from rich.table import Table


class Recipe:
    """Prints to a file."""

    def __init__(self, file: TextIO) -> None:
        self._console = Console(file=file)

    def on_metrics_collected(self, metrics: RealtimeModelMetrics) -> None:
        asyncio.create_task(self._print(metrics))  # noqa: RUF006 - as the recipe does it

    async def _print(self, metrics: RealtimeModelMetrics) -> None:
        table = Table(title="Realtime Model Metrics Report", header_style="bold cyan")
        table.add_column("Metric", style="bold green")
        table.add_column("Value", style="yellow")
        table.add_row("Type", str(metrics.type))
        table.add_row("Label", str(metrics.label))
        table.add_row("Request ID", str(metrics.request_id))
        table.add_row("Timestamp", datetime.fromtimestamp(metrics.timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S"))
        table.add_row("Duration", f"[white]{metrics.duration:.4f}[/white]s")
        wait = f"[white]{metrics.ttft:.4f}[/white]s" if metrics.ttft >= 0 else "[dim]n/a (no audio tokens)[/dim]"
        table.add_row("Time to First Audio Token", wait)
        table.add_row("Input Tokens", f"[white]{metrics.input_tokens}[/white]")
        table.add_row("  ↳ Audio", f"[white]{metrics.input_token_details.audio_tokens}[/white]")
        table.add_row("  ↳ Text", f"[white]{metrics.input_token_details.text_tokens}[/white]")
        table.add_row("  ↳ Cached", f"[white]{metrics.input_token_details.cached_tokens}[/white]")
        table.add_row("Output Tokens", f"[white]{metrics.output_tokens}[/white]")
        table.add_row("  ↳ Audio", f"[white]{metrics.output_token_details.audio_tokens}[/white]")
        table.add_row("  ↳ Text", f"[white]{metrics.output_token_details.text_tokens}[/white]")
        table.add_row("Total Tokens", f"[white]{metrics.total_tokens}[/white]")
        table.add_row("Tokens/Second", f"[white]{metrics.tokens_per_second:.2f}[/white]")
        self._console.print("\n")
        self._console.print(table)
        self._console.print("\n")
