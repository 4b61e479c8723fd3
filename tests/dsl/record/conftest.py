from tests.reports.conftest import everything, record

__all__ = ["everything", "record"]
