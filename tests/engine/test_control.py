"""A signal asks a run to stop at its next check; a second one stops it at once."""

import os
import signal

import pytest

from ddspec.engine.control import Control, Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_asks_to_stop_and_to_save(number):
    control = Control(save_every=1e9)
    with control.listening():
        assert not control.save_due()
        control.leave_if_stopped()
        os.kill(os.getpid(), number)
        assert control.save_due()
        with pytest.raises(Interrupted) as caught:
            control.saved()
    assert caught.value.exit_code == 128 + number


def test_second_signal_stops_at_once():
    control = Control()
    with control.listening(), pytest.raises(Interrupted):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_of_signals_are_restored():
    before = signal.getsignal(signal.SIGINT)
    with Control().listening():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_task_stops_when_its_run_is_stopped():
    run = Control()
    task = Control(parent_signal=run.signalled)
    task.leave_if_stopped()
    run.stopped_by = signal.SIGTERM
    with pytest.raises(Interrupted, match="SIGTERM"):
        task.leave_if_stopped()


def test_checkpoint_is_due_after_the_time_between_them():
    assert Control(save_every=0.0).save_due()
    control = Control(save_every=1e9)
    control.saved_at -= 2e9
    assert control.save_due()
    control.saved()
    assert not control.save_due()
