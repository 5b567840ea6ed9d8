"""One log line a record, through the framework's logger: `start` writes it as JSON, with the record under `metrics`."""

from ..log import logger
from ..records import AnyRecord, ResponseRecord
from .base import Sink


class LogSink(Sink):
    """Logs at INFO."""

    def write(self, record: AnyRecord) -> None:
        name = f"response {record.turn}" if isinstance(record, ResponseRecord) else record.kind
        logger.info("metrics of %s", name, extra={"metrics": record.as_dict()})
