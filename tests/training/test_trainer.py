"""`Trainer` is the loop by hand, goes on where it stopped, and refuses what would train something else."""

import doctest
import json
import signal
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset

import mupi.training.trainer
from mupi import SGD, Atoms, Hermite, PiLinear, PiMLP, RandomFeatures, ReLU
from mupi.data import Dataset
from mupi.training import Augmentation, DropAndAnneal, EpochRecord, Trainer

N = 22  # three batches of 8, the last of 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def examples(dtype=torch.float32):
    g = seeded(7)
    return torch.randn(N, 5, generator=g, dtype=dtype), torch.arange(N) % 3


def mlp(features, dtype=torch.float32) -> PiMLP:
    return PiMLP(5, 3, 6, 2, features=features, generator=seeded(), dtype=dtype)


class Custom(nn.Module):
    """A user's own: π-layers, dropout, a batch normalisation, numbers out."""

    def __init__(self, features=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Linear(5, 6, bias=False)
        self.norm = nn.BatchNorm1d(6)
        self.dropout = nn.Dropout(0.3)
        self.layer = PiLinear(6, 2, features=features or Hermite(2), activation=ReLU(), generator=seeded())

    def forward(self, x):
        return self.layer(self.dropout(self.norm(self.first(x))))


def regression() -> tuple[torch.Tensor, torch.Tensor]:
    x, _ = examples()
    return x, torch.stack([x.sum(1), x[:, 0] * x[:, 1]], 1)


def sgd(net, **kw):
    return SGD(net.parameters(), lr=0.1, clip=1.0, momentum=0.5, **kw)


def of_mlp(features, **kw) -> Trainer:
    net = mlp(features)
    optimizer = sgd(net)
    return Trainer(net, optimizer, batch_size=8, generator=seeded(1), schedule=DropAndAnneal(optimizer, 1, 0.5), **kw)


def of_custom() -> Trainer:
    net = Custom()
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=6)
    return Trainer(net, optimizer, loss=mse_loss, batch_size=8, schedule=schedule, generator=seeded(1))


def same_state(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_state(a[k], b[k]) for k in a if k != "seconds")
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same_state, a, b))
    return a == b


def whole_state(trainer):
    return trainer.net.state_dict(), trainer.optimizer.state_dict()


def without_time(history):
    return [{k: v for k, v in vars(record).items() if k != "seconds"} for record in history]


def test_it_is_the_loop_by_hand_bit_for_bit():
    x, y = examples()
    trainer = of_mlp(Hermite(2, subspace=3))
    history = trainer.fit((x, y), epochs=2, test=(x[:9], y[:9]))

    net, g = mlp(Hermite(2, subspace=3)), seeded(1)
    optimizer = sgd(net)
    schedule = DropAndAnneal(optimizer, 1, 0.5)
    for record in history:
        total, right = 0.0, 0
        for batch in torch.randperm(N, generator=g).split(8):
            outputs = net(x[batch])
            loss = cross_entropy(outputs, y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, right = total + loss.item() * len(batch), right + int((outputs.argmax(1) == y[batch]).sum())
        net.eval()
        with torch.no_grad():
            test = net(x[:9])
        net.train()
        schedule.step()
        assert record.train_loss == pytest.approx(total / N, rel=1e-7)
        assert record.train_accuracy == right / N
        assert record.test_loss == pytest.approx(cross_entropy(test, y[:9]).item(), rel=1e-6)
        assert record.test_accuracy == float((test.argmax(1) == y[:9]).sum()) / 9
    assert same_state(whole_state(trainer), (net.state_dict(), optimizer.state_dict()))
    assert [record.learning_rates for record in history] == [(0.1,), (0.05,)]
    assert history == trainer.history


def test_a_module_of_ones_own_with_adam_and_a_schedule_is_the_loop_by_hand():
    x, y = regression()
    torch.manual_seed(3)
    trainer = of_custom()
    history = trainer.fit(TensorDataset(x, y), epochs=3)
    after = torch.get_rng_state()

    torch.manual_seed(3)
    net, g = Custom(), seeded(1)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=6)
    for record in history:
        assert record.learning_rates == (optimizer.param_groups[0]["lr"],)
        for batch in torch.randperm(N, generator=g).split(8):
            optimizer.zero_grad()
            mse_loss(net(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()
    assert same_state(whole_state(trainer), (net.state_dict(), optimizer.state_dict()))
    assert torch.equal(after, torch.get_rng_state())
    assert [(r.train_accuracy, r.test_loss, r.test_accuracy) for r in history] == [(None, None, None)] * 3
    assert len({record.train_loss for record in history}) == 3


@pytest.mark.parametrize("features", [Hermite(2), Atoms(), RandomFeatures(8)])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_add_up_to_its_step(features, parts):
    x, y = examples(torch.float64)
    found = []
    for accumulate in (1, parts):
        net = mlp(features, torch.float64)
        trainer = Trainer(net, sgd(net), batch_size=8, accumulate=accumulate, generator=seeded(1))
        record = trainer.fit((x, y), epochs=2)[-1]
        found.append((net(x).detach(), record.train_loss, record.train_accuracy))
    assert torch.allclose(found[0][0], found[1][0], rtol=0, atol=1e-12)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-12)
    assert found[0][2] == found[1][2]
    untrained = mlp(features, torch.float64)(x)
    assert (found[0][0] - untrained).abs().max() > 1e-3


MAKERS = {
    "hermite": (partial(of_mlp, Hermite(2, subspace=3)), examples),
    "atoms": (partial(of_mlp, Atoms()), examples),
    "augmented": (partial(of_mlp, RandomFeatures(8), augmentation=Augmentation(True, 0, (1, 1, 5))), examples),
    "custom": (of_custom, regression),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_an_interrupted_run_goes_on_bit_for_bit(kind, tmp_path, press_ctrl_c):
    make, data = MAKERS[kind]
    torch.manual_seed(3)
    whole = make()
    whole.fit(data(), epochs=3, test=data())
    torch.manual_seed(3)
    press_ctrl_c(after=5)  # within the second epoch
    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 2 after 2 steps; `.*run` holds them all"):
        make().fit(data(), epochs=3, test=data(), directory=tmp_path / "run")
    torch.manual_seed(4)
    again = make()
    history = again.fit(data(), epochs=3, test=data(), directory=str(tmp_path / "run"))
    assert without_time(history) == without_time(whole.history)
    assert same_state(whole_state(again), whole_state(whole))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    # Finished runs give their history, longer ones go on.
    assert make().fit(data(), epochs=3, test=data(), directory=tmp_path / "run") == history


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_without_a_directory_what_is_done_stays_in_the_trainer(signum):
    whole = of_mlp(Hermite(2))
    whole.fit(examples(), epochs=3)
    trainer = of_mlp(Hermite(2))

    def interrupt(trainer, record):
        signal.raise_signal(signum)

    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 2 after 0 steps; a further call"):
        trainer.fit(examples(), epochs=3, callbacks=[interrupt])
    assert [record.epoch for record in trainer.history] == [1]
    trainer.fit(examples(), epochs=3)
    assert same_state(whole_state(trainer), whole_state(whole))


def test_an_epoch_in_progress_is_of_its_own_examples(press_ctrl_c):
    trainer = of_mlp(Hermite(2))
    press_ctrl_c(after=2)
    with pytest.raises(KeyboardInterrupt, match="interrupted in epoch 1 after 2 steps"):
        trainer.fit(examples(), epochs=1)
    x, y = examples()
    with pytest.raises(
        ValueError, match=r"`fit\(data=\.\.\.\)` must be the 22 examples of the epoch in progress; got 21"
    ):
        trainer.fit((x[1:], y[1:]), epochs=1)


def test_another_run_in_the_directory_is_refused_in_one_line(tmp_path):
    x, y = examples()
    of_mlp(Hermite(2)).fit((x, y), epochs=1, directory=tmp_path)
    saved = (tmp_path / "checkpoint.pt").read_bytes()
    others = {
        r"Trainer\(net=\.\.\.\)": (lambda: of_mlp(RandomFeatures(8)), (x, y)),
        r"Trainer\(accumulate=\.\.\.\)": (lambda: of_mlp(Hermite(2), accumulate=2), (x, y)),
        r"Trainer\(autocast=\.\.\.\)": (lambda: of_mlp(Hermite(2), autocast=torch.bfloat16), (x, y)),
        r"fit\(data=\.\.\.\)": (lambda: of_mlp(Hermite(2)), (x, y.roll(1))),
        r"Trainer\(loss=\.\.\.\)": (lambda: of_mlp(Hermite(2), loss=nn.CrossEntropyLoss(label_smoothing=0.1)), (x, y)),
    }
    for argument, (make, data) in others.items():
        with pytest.raises(ValueError, match=rf"^`{argument}` must be .*or choose another directory$") as error:
            make().fit(data, epochs=2, directory=tmp_path)
        assert "\n" not in str(error.value)
    assert (tmp_path / "checkpoint.pt").read_bytes() == saved
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds files that are not of a run of `Trainer.fit`"):
        of_mlp(Hermite(2)).fit((x, y), epochs=1, directory=tmp_path / "other")


def test_a_nan_is_no_step_and_the_checkpoint_is_from_before(tmp_path):
    x, y = examples()
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        return cross_entropy(outputs, targets) * (float("nan") if outputs.requires_grad and spoilt(outputs) else 1)

    def spoilt(outputs):
        trained.append(1)
        return len(trained) == 5

    trained = []
    net = mlp(Hermite(2))
    trainer = Trainer(net, torch.optim.SGD(net.parameters(), 0.1), loss=loss, batch_size=8, generator=seeded(1))
    before = []
    net.register_forward_pre_hook(lambda *_: before.append([p.detach().clone() for p in net.parameters()]))
    with pytest.raises(FloatingPointError, match="the loss became nan in epoch 2, step 2; the checkpoint"):
        trainer.fit((x, y), epochs=3, directory=tmp_path)
    assert all(map(torch.equal, before[-1], net.parameters()))
    assert all(p.grad is None for p in net.parameters())
    assert [record.epoch for record in trainer.history] == [1]
    # The NaN was of this one time: from the checkpoint it goes on.
    assert len(trainer.fit((x, y), epochs=3, directory=tmp_path)) == 3


def test_a_last_step_that_ruins_the_network_is_not_saved(tmp_path):
    net = nn.Linear(5, 3)
    trainer = Trainer(net, torch.optim.SGD(net.parameters(), 1e38), batch_size=N, generator=seeded())
    with pytest.raises(FloatingPointError, match="a look at the network after epoch 1"):
        trainer.fit((examples()[0] * 1e3, examples()[1]), epochs=3, directory=tmp_path)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_callbacks_see_each_epoch_and_may_stop(tmp_path):
    seen = []

    def stop_at_two(trainer, record):
        seen.append((record.epoch, len(trainer.history), (tmp_path / "checkpoint.pt").exists()))
        return record.epoch == 2

    later = []
    trainer = of_mlp(Hermite(2))
    history = trainer.fit(
        examples(), epochs=5, directory=tmp_path, callbacks=[stop_at_two, lambda _, r: later.append(r.epoch)]
    )
    assert seen == [(1, 1, True), (2, 2, True)]
    assert [r.epoch for r in history] == later == [1, 2]
    assert len(trainer.fit(examples(), epochs=3, directory=tmp_path)) == 3


def test_arrays_and_data_sets_are_as_tensors(tmp_path):
    x, y = examples()
    kinds = [
        dict(data=(x, y), test=(x[:4], y[:4])),
        dict(data=(x.double().numpy(), y.numpy().astype(np.uint8)), test=TensorDataset(x[:4], y[:4].int())),
        dict(data=DATA),
    ]
    histories = [without_time(of_mlp(Hermite(2)).fit(**kind, epochs=2)) for kind in kinds]
    assert histories[0] == histories[1] == histories[2]


def test_inputs_of_any_shape_and_images_that_are_moved():
    images = torch.randn(N, 1, 4, 4, generator=seeded(2))
    flat = images.flatten(1)
    found = []
    for x in (images, flat):
        net = nn.Sequential(nn.Flatten(), PiMLP(16, 3, 4, 1, features=Hermite(2), generator=seeded()))
        moved = Augmentation(True, 1, (1, 4, 4))
        trainer = Trainer(net, sgd(net), batch_size=8, augmentation=moved, generator=seeded(1))
        found.append(without_time(trainer.fit((x, examples()[1]), epochs=2)))
    assert found[0] == found[1]


def test_mixed_precision_is_near_and_in_the_layers_own_dtype():
    net = nn.Sequential(nn.Linear(5, 6), PiLinear(6, 3, features=Hermite(2), activation=ReLU(), generator=seeded()))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    losses = []
    for autocast in (None, torch.bfloat16):
        net.load_state_dict(state)
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        trainer = Trainer(net, optimizer, batch_size=8, autocast=autocast, generator=seeded(1))
        losses.append(trainer.fit(examples(), epochs=2)[-1].train_loss)
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_layers_are_in_evaluation_mode_in_the_test_only_and_come_back_as_they_were():
    net = Custom()
    net.norm.eval()
    trainer = Trainer(net, torch.optim.Adam(net.parameters()), loss=mse_loss, batch_size=8, generator=seeded())
    modes = []
    net.register_forward_pre_hook(lambda *_: modes.append((net.dropout.training, torch.is_grad_enabled())))
    trainer.fit(regression(), epochs=1, test=regression())
    assert modes == [(False, False), *[(True, True)] * 3, (False, False)]
    assert (net.training, net.norm.training, net.dropout.training) == (True, False, True)


class Writer:
    def __init__(self):
        self.numbers = []

    def add_scalar(self, name, value, step):
        self.numbers.append((name, value, step))

    def flush(self):
        pass


def test_the_curves_are_those_of_the_records():
    x, y = examples()
    (record,) = of_mlp(Hermite(2)).fit((x, y), epochs=1, test=(x, y), log=(writer := Writer()))
    assert writer.numbers == [
        ("loss/train", record.train_loss, 1),
        ("loss/test", record.test_loss, 1),
        ("accuracy/train", record.train_accuracy, 1),
        ("accuracy/test", record.test_accuracy, 1),
        ("learning_rate/0", 0.1, 1),
    ]
    _, numbers = regression()
    of_custom().fit((x, numbers), epochs=1, log=(writer := Writer()))
    assert [name for name, _, _ in writer.numbers] == ["loss/train", "learning_rate/0"]


def test_a_log_directory_is_tensorboards(tmp_path, monkeypatch):
    if not _installed("tensorboard"):
        with pytest.raises(ModuleNotFoundError, match=r"`fit\(log=\.\.\.\)` needs tensorboard: pip install 'mupi\[log"):
            of_mlp(Hermite(2)).fit(examples(), epochs=1, log=tmp_path)
        return
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = of_mlp(Hermite(2)).fit(examples(), epochs=2, log=tmp_path)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("loss/train")]
    assert found == [(record.epoch, pytest.approx(record.train_loss, rel=1e-6)) for record in history]


def _installed(name):
    try:
        __import__(name)
    except ModuleNotFoundError:
        return False
    return True


def test_a_record_comes_back_from_its_line():
    record = EpochRecord(1, 0.5, None, 0.25, None, (0.1, 0.2), 1.0, 0)
    assert EpochRecord.from_json(record.to_json()) == record


def test_the_example_of_the_docstring_runs():
    failed, tried = doctest.testmod(mupi.training.trainer)
    assert tried and not failed


def summed(outputs, y):
    return cross_entropy(outputs, y, reduction="sum")


WEIGHTED = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 1.0]))
X, Y = examples()
COLUMN = Y.float()
DATA = Dataset("own", X, Y, X[:4], Y[:4], (1, 1, 5), ("a", "b", "c"))

# Of a Trainer's and of fit's arguments: what the message must hold.
REFUSED = [
    (dict(net=nn.ReLU()), {}, r"`Trainer\(net=\.\.\.\)` must be a module with parameters"),
    (dict(optimizer=sgd(nn.Linear(2, 2))), {}, r"`Trainer\(optimizer=\.\.\.\)` must be of the net's own.*got 2 others"),
    (dict(batch_size=0), {}, r"`Trainer\(batch_size=\.\.\.\)` must be an integer ≥ 1; got 0"),
    (dict(accumulate=3), {}, r"`Trainer\(accumulate=\.\.\.\)` must be a divisor of the batch size 8; got 3"),
    (dict(autocast=torch.float16), {}, r"`Trainer\(autocast=\.\.\.\)` must be torch\.bfloat16"),
    (dict(generator=torch.default_generator), {}, r"`Trainer\(generator=\.\.\.\)` must be a generator of its own"),
    (dict(schedule=torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.ones(1)]), 1)), {}, "of the same optimizer"),
    (dict(augmentation=Augmentation(True, 0, (1, 2, 2))), {}, r"`fit\(data=\.\.\.\)` must be images of shape"),
    ({}, dict(epochs=0), r"`fit\(epochs=\.\.\.\)` must be an integer ≥ 1; got 0"),
    ({}, dict(log=3), r"`fit\(log=\.\.\.\)` must be a directory or a SummaryWriter; got int"),
    ({}, dict(data=X), r"`fit\(data=\.\.\.\)` must be \(x, y\).*got Tensor"),
    ({}, dict(data=(X, Y, Y)), r"`fit\(data=\.\.\.\)`.*got 3 of them"),
    ({}, dict(data=(X, list(Y))), r"`fit\(data=\.\.\.\), y` must be a tensor or an array; got list"),
    ({}, dict(data=(X, Y[:-1])), r"`fit\(data=\.\.\.\)` must be one target to each input"),
    ({}, dict(data=(X[:0], Y[:0])), r"`fit\(data=\.\.\.\)`.*at least one"),
    ({}, dict(data=(X / 0, Y)), r"`fit\(data=\.\.\.\), x` must be finite"),
    ({}, dict(data=(X, Y > 1)), r"`fit\(data=\.\.\.\), y` must be floats, or integer class labels; got torch.bool"),
    ({}, dict(data=(X, Y + 1)), r"`fit\(data=\.\.\.\), y` must be labels between 0 and 2.*got 1 to 3"),
    ({}, dict(test=(X, Y - 1)), r"`fit\(test=\.\.\.\), y` must be labels between 0 and 2.*got -1 to 1"),
    ({}, dict(test=(X[:, :4], Y)), r"`fit\(test=\.\.\.\)` must be of the shapes"),
    ({}, dict(data=DATA, test=(X, Y)), r"`fit\(test=\.\.\.\)` must be None"),
    (dict(loss=summed), {}, r"`Trainer\(loss=\.\.\.\)` must be a mean over the examples.*use reduction='mean'"),
    (dict(loss=WEIGHTED, accumulate=2), {}, r"`Trainer\(loss=\.\.\.\)` must be the mean of.*use accumulate=1"),
    (dict(loss=mse_loss), {}, r"`Trainer\(loss=\.\.\.\)` must be"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_makes_no_sense_is_refused_in_one_line(case):
    changed, called, message = REFUSED[case]
    net = changed.get("net", mlp(Hermite(2)))
    arguments = dict(net=net, batch_size=8) | changed
    if "optimizer" not in arguments:
        arguments["optimizer"] = sgd(net if list(net.parameters()) else mlp(Hermite(2)))
    with pytest.raises(ValueError, match=message) as error:
        Trainer(**arguments).fit(**(dict(data=(X, Y), epochs=1) | called))
    assert "\n" not in str(error.value)


def test_targets_that_would_broadcast_are_refused():
    net = PiMLP(5, 1, 4, 1, generator=seeded())
    trainer = Trainer(net, sgd(net), loss=mse_loss, batch_size=8)
    with pytest.raises(
        ValueError, match=r"`Trainer\(loss=\.\.\.\)` must be one that pairs each output with its target"
    ):
        trainer.fit((X, COLUMN), epochs=1)
    with pytest.raises(ValueError, match="pairs each output"):
        trainer.fit((X, COLUMN.sort().values), epochs=1)  # of which the first are all alike
    rare = torch.zeros(1000)
    rare[77] = 1.0
    with pytest.raises(ValueError, match="pairs each output"):
        trainer.fit((torch.ones(1000, 5), rare), epochs=1)
    assert not trainer.history
    trainer.fit((X, COLUMN[:, None]), epochs=1)


def test_a_loss_of_probabilities_is_one():
    net = nn.Sequential(PiMLP(5, 1, 4, 1, generator=seeded()), nn.Sigmoid())
    trainer = Trainer(net, sgd(net), loss=nn.BCELoss(), batch_size=8, generator=seeded())
    first, second = trainer.fit((X, (COLUMN > 0).float()[:, None]), epochs=2)
    assert second.train_loss < first.train_loss


def test_a_directory_is_that_of_the_first_call(tmp_path):
    trainer = of_mlp(Hermite(2))
    trainer.fit(examples(), epochs=1)
    with pytest.raises(ValueError, match=r"`fit\(directory=\.\.\.\)` must be None, as in the first call"):
        trainer.fit(examples(), epochs=2, directory=tmp_path)


def test_a_schedule_with_a_state_of_lists_is_kept(tmp_path):
    def make():
        net = nn.Linear(5, 3)
        optimizer = torch.optim.AdamW(net.parameters(), 0.01)
        lr = torch.optim.lr_scheduler
        parts = [lr.MultiStepLR(optimizer, [1, 2]), lr.CosineAnnealingLR(optimizer, 4)]
        return Trainer(net, optimizer, schedule=lr.SequentialLR(optimizer, parts, [2]), generator=seeded())

    whole = [r.learning_rates for r in make().fit(examples(), epochs=5)]
    make().fit(examples(), epochs=2, directory=tmp_path)
    assert [r.learning_rates for r in make().fit(examples(), epochs=5, directory=tmp_path)] == whole
