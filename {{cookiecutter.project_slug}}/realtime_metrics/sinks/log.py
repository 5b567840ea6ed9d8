"""One log line a record, through the framework's logger: `start` writes it as JSON, with the record under `metrics`."""

from ..log import logger
from ..records import AnyRecord, ResponseRecord
from ..settings import Settings


class LogSink:
    """Logs at INFO."""

    def __init__(self, settings: Settings) -> None: ...

    @staticmethod
    def problem(settings: Settings) -> str | None:
        return None

    def write(self, record: AnyRecord) -> None:
        name = f"response {record.turn}" if isinstance(record, ResponseRecord) else record.kind
        logger.info("metrics of %s", name, extra={"metrics": record.as_dict()})

    def close(self) -> None:
        """The framework owns the logger."""
