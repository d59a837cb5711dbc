"""Training in two processes: the same weights as in one, resumed to the bit, with even shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine_parts import PACKED, PADDED, TOKENS, classifier
from tuneoff.data.tokens import Tokens
from tuneoff.models.load import LoadedModel
from tuneoff.runs.process import ForkServer
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.tasks.losses import CrossEntropy
from tuneoff.training.checkpoint import Checkpoints
from tuneoff.training.engines.base import Engine, Step
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.kernels.dropout import Dropout
from tuneoff.training.parallel.devices import make_parallel
from tuneoff.training.parallel.process_rank import ProcessRank
from tuneoff.training.parallel.ranks import Ranks
from tuneoff.training.selection import KeptWeights

pytestmark = pytest.mark.long
CPU = torch.device("cpu")
RANKS = 2
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """One small training."""

    kind: str
    method: str
    parallel: str
    precision: torch.dtype = torch.float32
    checkpointing: bool = False
    micro_batch: int | None = None
    rank: int | None = None
    """Of LoRA's matrices."""
    weighted: bool = False
    """Whether classes have weights and labels are smoothed."""

    def __str__(self) -> str:
        extras = [str(self.precision)[6:], "checkpointing" * self.checkpointing, f"micro{self.micro_batch}"]
        extras += [f"rank{self.rank}"] * (self.rank is not None) + ["weighted"] * self.weighted
        return "-".join([self.kind, self.method, self.parallel, *extras])


PLAIN: dict[str, Any] = {}
TRAININGS: list[tuple[str, str, dict[str, Any]]] = [
    ("bert", "full", PLAIN),
    ("bert", "lora", PLAIN),
    ("bert", "lora", {"rank": 1}),  # matrices of one row or column, which decay
    ("bert", "ia3", PLAIN),  # its vectors have one row, so that a shard of them is empty
    ("llama", "full", PLAIN),
    ("llama", "lora", PLAIN),
    ("albert", "full", PLAIN),  # one block, called again and again
    ("deberta-v2", "full", PLAIN),  # padded
    ("deberta-v2", "head_only", PLAIN),
    ("bert", "full", {"checkpointing": True}),
    ("bert", "lora", {"checkpointing": True}),
    ("bert", "full", {"micro_batch": 1}),
    ("bert", "full", {"weighted": True, "micro_batch": 1}),
    ("deberta-v2", "full", {"weighted": True}),
    ("bert", "full", {"precision": torch.bfloat16}),
    ("bert", "lora", {"precision": torch.bfloat16}),
]
CASES = [Case(kind, method, parallel, **options) for parallel in ("ddp", "fsdp") for kind, method, options in TRAININGS]
KEPT = [Case("bert", method, parallel) for parallel in ("ddp", "fsdp") for method in ("full", "ia3")]

# Batches of 4, 3, 1 and 2 sequences: with an odd one out, and with one process that has none.
SCHEDULE: list[Step] = [
    (np.array(rows), 1e-3) for rows in ([0, 2, 4, 5], [1, 3, 6], [7], [8, 9], [2, 1, 0, 3], [5, 2, 8])
]


def make(case: Case, ranks: Ranks, dropout: bool = False) -> Engine:
    loaded = classifier(case.kind, (PACKED | PADDED)[case.kind])
    heads = [name for name in ("classifier", "score") if hasattr(loaded.model, name)]
    loaded = LoadedModel.of(loaded.model, tuple(heads))
    torch.manual_seed(3)
    options = {} if case.rank is None else {"r": case.rank}
    model = METHODS.classes()[case.method].model_validate({"method": case.method, **options}).adapt(loaded)
    training = TrainingSpec.model_validate(
        {
            "batch_size": 4,
            "parallel": case.parallel,
            "gradient_checkpointing": case.checkpointing,
            "max_grad_norm": 0.5,  # below the norms of most steps
            "weight_decay": 1.0,  # so that it shows which weights are decayed
        }
    )
    parallel = make_parallel(training, ranks, case.precision)
    loss = CrossEntropy((0.3, 1.0, 5.0), 0.1) if case.weighted else None
    engine = make_engine(model, loaded, training, CPU, case.precision, case.micro_batch, parallel, loss=loss)
    if not dropout:
        for module in model.modules():
            if isinstance(module, Dropout | torch.nn.Dropout):
                module.p = 0.0
    return engine


def trained_weights(engine: Engine) -> Weights:
    held = {name: value.detach() for name, value in engine.model.named_parameters() if value.requires_grad}
    whole = engine.parallel.whole_weights(engine.model, trained_only=True)
    return {name: (held if whole is None else whole)[name] for name in held} if whole != {} else {}


def train(case: Case, ranks: Ranks) -> tuple[Weights, Any, float]:
    """Trained weights (in the first process), logits and mean loss."""
    engine = make(case, ranks)
    list(engine.steps(TOKENS, SCHEDULE))
    loss = engine.mean_loss()
    return trained_weights(engine), engine.logits(TOKENS), loss


def resumes_to_the_bit(parallel: str, ranks: Ranks, folder: Path) -> bool:
    """Whether training with dropout ends in the same logits where it goes on from a checkpoint."""
    case = Case("bert", "full", parallel)
    straight = make(case, ranks, dropout=True)
    list(straight.steps(TOKENS, SCHEDULE))
    begun = make(case, ranks, dropout=True)
    list(begun.steps(TOKENS, SCHEDULE[:2]))
    checkpoints = Checkpoints(folder / "checkpoint.pt", parallel, 1, begun.parallel)
    checkpoints.save(begun, {"done": 2})
    resumed = make(case, ranks, dropout=True)
    saved = checkpoints.load(4)
    assert saved is not None
    resumed.restore(saved["engine"])
    list(resumed.steps(TOKENS, SCHEDULE[saved["done"] :]))
    same_loss = abs(straight.mean_loss() - resumed.mean_loss()) < 1e-6
    return same_loss and np.array_equal(straight.logits(TOKENS), resumed.logits(TOKENS))


def weights_come_back(case: Case, ranks: Ranks, folder: Path) -> bool:
    """Whether a model gives the logits of an earlier step again once its kept weights are put back."""
    engine = make(case, ranks)
    list(engine.steps(TOKENS, SCHEDULE[:2]))
    before = engine.logits(TOKENS)
    kept = KeptWeights(folder)
    kept.keep(engine.trained_weights())
    list(engine.steps(TOKENS, SCHEDULE[2:]))
    changed = not np.allclose(engine.logits(TOKENS), before, atol=1e-3)
    weights = kept.read()
    assert weights is not None
    engine.put_back(weights)
    return changed and np.array_equal(engine.logits(TOKENS), before)


def drops(ranks: Ranks) -> torch.Tensor:
    """What this process's dropout leaves of ones."""
    engine = make(Case("bert", "full", "ddp"), ranks, dropout=True)
    dropout = next(module for module in engine.model.modules() if isinstance(module, Dropout))
    return dropout.train()(torch.ones(1000))


def in_one_of_two(rank: ProcessRank, folder: Path, connection: Connection) -> None:
    """Entry point of each of two processes: trains all cases and sends what came out."""
    torch.set_num_threads(1)
    ranks = Ranks.connect(rank, CPU)
    results = {str(case): train(case, ranks) for case in CASES}
    resumed = {parallel: resumes_to_the_bit(parallel, ranks, folder) for parallel in ("ddp", "fsdp")}
    back = {str(case): weights_come_back(case, ranks, folder) for case in KEPT}
    dropped = ranks.gather(drops(ranks))
    ranks.disconnect()
    torch.save(
        {"results": results, "resumed": resumed, "back": back, "dropped": dropped}, folder / f"rank{rank.rank}.pt"
    )
    connection.send("done")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes that train together has found."""
    folder = tmp_path_factory.mktemp("ranks")
    server = ForkServer()
    server.warm_up()
    context = server.context
    processes = []
    for rank in range(RANKS):
        receiver, sender = context.Pipe(duplex=False)
        of = ProcessRank(rank, RANKS, str(folder / "meeting"))
        process = context.Process(target=in_one_of_two, args=(of, folder, sender), daemon=True)
        process.start()
        sender.close()
        processes.append((process, receiver))
    for process, receiver in processes:
        assert receiver.poll(120)
        assert receiver.recv() == "done"
        process.join()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(RANKS)]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many as each of the two processes has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_train_like_one(case: Case, two_processes: list[dict[str, Any]]) -> None:
    weights, logits, loss = train(Case(**{**case.__dict__, "parallel": "none"}), Ranks())
    (first, first_logits, first_loss), (_, second_logits, second_loss) = (
        found["results"][str(case)] for found in two_processes
    )
    exact = case.precision == torch.float32
    assert {name: value.dtype for name, value in first.items()} == {name: w.dtype for name, w in weights.items()}
    if exact:
        torch.testing.assert_close(first, weights, rtol=1e-4, atol=1e-5)
    ours, alone = (torch.cat([w.flatten().float() for _, w in sorted(found.items())]) for found in (first, weights))
    assert (ours - alone).norm() / alone.norm() < (1e-5 if exact else 0.01)
    np.testing.assert_allclose(first_logits, logits, atol=1e-5 if exact else 0.02)
    assert first_loss == pytest.approx(loss, rel=1e-5 if exact else 2e-3)
    np.testing.assert_array_equal(first_logits, second_logits)
    assert first_loss == second_loss


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_resumed_training_ends_in_the_same_bits(parallel: str, two_processes: list[dict[str, Any]]) -> None:
    assert all(found["resumed"][parallel] for found in two_processes)


@pytest.mark.parametrize("case", KEPT, ids=str)
def test_weights_of_an_earlier_epoch_come_back(case: Case, two_processes: list[dict[str, Any]], tmp_path: Path) -> None:
    assert all(found["back"][str(case)] for found in two_processes)
    assert weights_come_back(Case(**{**case.__dict__, "parallel": "none"}), Ranks(), tmp_path)


def test_each_process_drops_other_elements_every_time_the_same(two_processes: list[dict[str, Any]]) -> None:
    first, second = two_processes[0]["dropped"]
    assert torch.equal(first, drops(Ranks()))
    assert not torch.equal(first, second)
    assert (second == 0).float().mean().item() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_shares_are_even_in_rows_and_in_tokens(count: int, size: int) -> None:
    lengths = np.random.default_rng(size).integers(1, 500, size=size)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = Tokens(np.zeros(offsets[-1], np.int32), offsets, np.zeros(size, np.int64))
    rows = np.random.default_rng(0).permutation(size)
    shares = Ranks(ProcessRank(0, count)).shards(tokens, rows)
    assert sorted(np.concatenate(shares)) == list(range(size))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    totals = [lengths[share].sum() for share in shares]
    assert max(totals) - min(totals) <= lengths.max()
