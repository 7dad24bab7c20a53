import signal
import threading

import pytest

from mupi.experiments.training.interrupt import interrupt_noted


@pytest.fixture(autouse=True)
def usual_ctrl_c():
    """Python's own handler, which it does not install in a process that was started to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_ctrl_c_is_noted_and_the_second_interrupts():
    with pytest.raises(KeyboardInterrupt), interrupt_noted() as noted:
        assert not noted()
        signal.raise_signal(signal.SIGINT)
        assert noted()
        signal.raise_signal(signal.SIGINT)


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
