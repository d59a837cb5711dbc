"""How the weights of a run lie on its devices, and how gradients come together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tuneoff.training.optim.adamw import MasterAdamW, Optimiser, clip_factor, gradient_norm, make_optimiser
from tuneoff.training.optim.hyperparameters import decayed_parameters, rate_factor
from tuneoff.training.parallel.gradients import GradientSums
from tuneoff.training.parallel.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec


class SingleDevice:
    """One process with one device, and what every way of using several does unless it says otherwise.

    Args:
        ranks: the run's processes.
        precision: in which weights are computed with.
    """

    name = "none"
    sharded = False
    """Whether modules hold whole weights only while they are computed, and the optimiser's state is sharded."""

    def __init__(self, ranks: Ranks | None = None, precision: torch.dtype = torch.float32) -> None:
        self.ranks = ranks or Ranks()
        self.precision = precision

    def loading_device(self, device: torch.device) -> torch.device:
        """Where to load the weights of a model that `lay_out` is then given."""
        return device

    def lay_out(
        self, model: nn.Module, loaded: LoadedModel, device: torch.device, dtypes: Mapping[str, torch.dtype]
    ) -> None:
        """Moves the model's weights to `device` in the run's precision; 4-bit weights stay as they are.

        Args:
            model: the adapted model.
            loaded: what it was made from; its classifier is inside any wrapper.
            device: this process's.
            dtypes: of parameters by name that are held in another precision than the run's.
        """
        del loaded
        model.to(device)
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtypes.get(name, self.precision))

    def make_optimiser(self, model: nn.Module, training: TrainingSpec) -> Optimiser:
        """The optimiser of what this process has to update."""
        return make_optimiser(model, training)

    def last_pass(self) -> AbstractContextManager[None]:
        """Around the last of the backward passes of a batch, in which each gradient is finished."""
        return nullcontext()

    def reduce_gradients(self) -> None:
        """Called between the backward passes of a batch and the optimiser's step."""

    def optimiser_state(self, optimiser: Optimiser) -> Any:
        """The optimiser's state for a checkpoint; of use in the first process alone."""
        return optimiser.state()

    def restore_optimiser(self, optimiser: Optimiser, state: Any) -> None:
        """Takes over what `optimiser_state` returned in the first process."""
        optimiser.restore(state)

    def own_part(self, parameter: nn.Parameter) -> torch.Tensor:
        """What this process holds of a trained weight: a tensor in the same memory."""
        return parameter.detach()

    def whole_weights(self, model: nn.Module, trained_only: bool) -> dict[str, torch.Tensor] | None:
        """All tensors by name, or those that are trained, on the CPU, in the first process; None where the model itself
        holds them."""
        del model, trained_only
        return None


class DataParallel(SingleDevice):
    """Every process has all weights, and a shard of each batch (DDP)."""

    name = "ddp"

    def make_optimiser(self, model: nn.Module, training: TrainingSpec) -> Optimiser:
        self._sums = GradientSums(model, self.ranks)
        return make_optimiser(model, training)

    def last_pass(self) -> AbstractContextManager[None]:
        return self._sums.sent_as_they_come()

    def reduce_gradients(self) -> None:
        """Adds up the gradients of all processes, so that each then takes the same step."""
        self._sums.finish()


class FullyShardedDataParallel(SingleDevice):
    """Every process has a shard of each weight and of each batch (FSDP2).

    A block's weights are brought together in the run's precision while it is computed. The shards of trained weights
    are kept in float32: they are the optimiser's masters.
    """

    name = "fsdp"
    sharded = True

    def loading_device(self, device: torch.device) -> torch.device:
        """Main memory: no device needs to hold all weights at any time."""
        del device
        return torch.device("cpu")

    def lay_out(
        self, model: nn.Module, loaded: LoadedModel, device: torch.device, dtypes: Mapping[str, torch.dtype]
    ) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

        self._decayed = decayed_parameters(model)  # asked before shards lose what shows it
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(self.precision)
        policy = MixedPrecisionPolicy(param_dtype=self.precision, reduce_dtype=torch.float32)
        mesh = init_device_mesh(device.type, (self.ranks.world_size,))
        # The classifier is not sharded as one, since packed batches call its children, and not itself, one by one.
        children = [child for child in loaded.model.children() if next(child.parameters(), None) is not None]
        for module in (*loaded.architecture.blocks_of(loaded.model), *children):
            fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        for module in loaded.model.modules():
            if isinstance(module, FSDPModule):
                # Losses are weighted by their share of the whole batch, so gradients are added up, not averaged.
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(True)

    def make_optimiser(self, model: nn.Module, training: TrainingSpec) -> Optimiser:
        """The plain one, on this process's shards as tensors of their own in the same memory."""
        self._max_norm = training.max_grad_norm
        named: list[tuple[str, Any]] = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._sharded = [parameter for _, parameter in named]
        self._local = nn.ParameterList(nn.Parameter(parameter.detach().to_local()) for parameter in self._sharded)
        for sharded, local in zip(self._sharded, self._local, strict=True):
            local.rate_factor = rate_factor(sharded)
        decays = [training.weight_decay if name in self._decayed else 0.0 for name, _ in named]
        return MasterAdamW(list(self._local), decays, self._max_norm)

    @torch.no_grad()
    def reduce_gradients(self) -> None:
        """Hands this process's shard of the gradients to the optimiser, clipped by their norm over all processes.

        The optimiser then finds a smaller norm, and does not clip again. Weights with fewer rows than there are
        processes have no shard in some of them, which may have none at all.
        """
        gradients = []
        for sharded, local in zip(self._sharded, self._local, strict=True):
            if sharded.grad is not None and local.numel():
                local.grad = sharded.grad.to_local()
                gradients.append(local.grad)
            sharded.grad = None
        squared_norm = torch.zeros((), device=self._local[0].device)
        if gradients:
            squared_norm += gradient_norm(gradients).square()
        self.ranks.all_reduce(squared_norm)
        if gradients:
            torch._foreach_mul_(gradients, clip_factor(squared_norm.sqrt(), self._max_norm))

    def own_part(self, parameter: Any) -> torch.Tensor:
        part: torch.Tensor = parameter.detach().to_local()
        return part

    def optimiser_state(self, optimiser: Optimiser) -> Any:
        return self.ranks.gather(optimiser.state())

    def restore_optimiser(self, optimiser: Optimiser, state: Any) -> None:
        optimiser.restore(state[self.ranks.rank])

    def whole_weights(self, model: nn.Module, trained_only: bool) -> dict[str, torch.Tensor] | None:
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        weights = {}
        for name, value in model.state_dict().items():
            if not (trained_only and name in frozen):
                whole = _whole(value)
                if self.ranks.first:
                    weights[name] = (whole.to(self.precision) if whole.is_floating_point() else whole).cpu()
        return weights


def make_parallel(training: TrainingSpec, ranks: Ranks, precision: torch.dtype) -> SingleDevice:
    """What the study asks for; with one process alone nothing has to be shared."""
    kinds = {kind.name: kind for kind in (SingleDevice, DataParallel, FullyShardedDataParallel)}
    return kinds[training.parallel if ranks.world_size > 1 else "none"](ranks, precision)


def _whole(value: torch.Tensor | DTensor) -> torch.Tensor:
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value
