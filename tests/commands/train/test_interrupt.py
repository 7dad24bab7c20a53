import signal
import threading

import pytest

from mupi.training import interrupt
from mupi.training.interrupt import STOPPING, interrupt_noted, last_stop, signals_interrupt


@pytest.fixture(autouse=True)
def usual_signals():
    """Handlers as in a terminal, also in a process that was started to ignore signals, as by `nohup`."""
    usual = {s: signal.default_int_handler if s == signal.SIGINT else signal.SIG_DFL for s in STOPPING}
    before = {s: signal.signal(s, handler) for s, handler in usual.items()}
    yield
    for s, handler in before.items():
        signal.signal(s, handler)


@pytest.mark.parametrize("signum", STOPPING)
def test_the_first_signal_is_noted_and_a_later_second_interrupts(signum, monkeypatch):
    with pytest.raises(KeyboardInterrupt), interrupt_noted() as noted:
        assert not noted()
        signal.raise_signal(signum)
        assert noted()
        signal.raise_signal(signum)  # the same stop, as `timeout` sends it to a process and to its group
        monkeypatch.setattr(interrupt, "ONE_STOP_SECONDS", 0.0)
        signal.raise_signal(signum)
    assert last_stop() == signum


@pytest.mark.parametrize("signum", STOPPING)
def test_a_command_is_interrupted_by_each_signal_once(signum):
    before = signal.getsignal(signum)
    with pytest.raises(KeyboardInterrupt), signals_interrupt():
        try:
            signal.raise_signal(signum)
        finally:
            signal.raise_signal(signum)
    assert signal.getsignal(signum) is before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_interrupt(), interrupt_noted() as noted:
            signal.raise_signal(signal.SIGHUP)
            assert not noted()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_afterwards_ctrl_c_interrupts_as_before():
    usual = signal.getsignal(signal.SIGINT)
    with interrupt_noted():
        assert signal.getsignal(signal.SIGINT) is not usual
    assert signal.getsignal(signal.SIGINT) is usual


def test_in_another_thread_it_does_nothing():
    seen = []

    def work() -> None:
        with interrupt_noted() as noted:
            seen.append(noted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
