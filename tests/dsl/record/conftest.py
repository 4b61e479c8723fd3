from tests.reports.conftest import record

__all__ = ["record"]
