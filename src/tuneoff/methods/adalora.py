"""AdaLoRA: low-rank updates whose ranks are shared out among layers while they are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tuneoff.methods.peft_method import MOST, LayerMethod

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tuneoff.models.load import LoadedModel

MOVING_AVERAGES = ("exp_avg_ipt", "exp_avg_unc")
"""What peft's allocator of ranks keeps from step to step, by parameter."""


class AdaLora(LayerMethod):
    title: ClassVar[str] = "AdaLoRA"
    summary: ClassVar[str] = "LoRA that moves rank to the layers that need it, and the head"
    reference: ClassVar[str] = "Zhang et al. 2023 (AdaLoRA): 5e-4 to 2e-3 for DeBERTa-v3-base, orthogonality 0.1 to 0.5"
    config: ClassVar[str] = "AdaLoraConfig"
    per_layer: ClassVar[str] = "init_r * (inputs + outputs + 1)"
    starting_rate: ClassVar[float] = 6e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    method: Literal["adalora"] = "adalora"
    init_r: int = Field(default=12, gt=0, le=MOST, description="rank of each layer at first")
    target_r: int = Field(default=8, gt=0, le=MOST, description="mean rank of the layers at the end")
    lora_alpha: int = Field(default=16, gt=0, description="updates are scaled by lora_alpha / rank")
    lora_dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout before the update")
    orth_reg_weight: float = Field(default=0.1, ge=0, description="weight of the penalty on factors not orthogonal")
    warm_up: float = Field(default=0.1, ge=0, lt=0.5, description="share of the steps before ranks are taken away")
    settled: float = Field(default=0.3, gt=0, lt=0.5, description="share of the steps after ranks are settled")

    @model_validator(mode="after")
    def _smaller(self) -> Self:
        if self.target_r >= self.init_r:
            raise ValueError("target_r is less than init_r")
        return self

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        return {**super().options(loaded, names), "total_step": 1_000_000_000}  # a run's steps are known at its first

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        import torch

        model: Any = super().adapt(loaded)
        for name, parameter in model.named_parameters():
            if "ranknum" in name:  # says how many ranks a layer has
                parameter.requires_grad_(False)
        for number, (_, parameter) in enumerate(_ranked(model)):
            for average in MOVING_AVERAGES:
                model.register_buffer(f"{average}_{number}", parameter.new_zeros(parameter.shape))
        for number, (_, parameter) in enumerate(_diagonals(model)):
            model.register_buffer(f"kept_{number}", parameter.new_ones(len(parameter), dtype=torch.bool))
        return model

    def penalty(self, model: nn.Module) -> torch.Tensor:
        """Mean distance of the factors' products with themselves from unit matrices, equation 7 of the paper."""
        import torch

        distances = []
        for name, factor in _ranked(model):
            if "lora_E" not in name:
                product = factor @ factor.T if "lora_A" in name else factor.T @ factor
                distances.append(torch.linalg.norm(product - torch.eye(len(product), device=product.device)))
        return self.orth_reg_weight * torch.stack(distances).mean()

    def after_step(self, model: nn.Module, step: int, steps: int) -> None:
        """Takes ranks away by the cubic schedule of the paper; after that those that were taken stay at zero."""
        tuner: Any = model.base_model
        allocator, config = tuner.rankallocator, tuner.peft_config[tuner.trainable_adapter_name]
        config.tinit, config.tfinal = int(self.warm_up * steps), max(1, int(self.settled * steps))
        config.total_step = steps
        allocator.set_total_step(steps)
        last = steps - config.tfinal
        if step > last:
            config.rank_pattern = _kept_ranks(model)
            allocator.mask_using_rank_pattern(tuner.model, config.rank_pattern)
            return
        names = [_inside(name) for name, _ in _ranked(model)]
        kept = {
            average: {name: model.get_buffer(f"{average}_{number}") for number, name in enumerate(names)}
            for average in MOVING_AVERAGES
        }
        for average, values in kept.items():
            setattr(allocator, average, dict(values))
        allocator.ipt = dict.fromkeys(names)  # is computed anew in each step
        tuner.update_and_allocate(step)
        if step == last:
            for number, (name, _) in enumerate(_diagonals(model)):
                kept_ranks = model.get_buffer(f"kept_{number}")
                kept_ranks.copy_(kept_ranks.new_tensor(config.rank_pattern[_inside(name)]))
        else:
            for average, values in kept.items():
                for name, value in values.items():
                    value.copy_(getattr(allocator, average)[name])

    def weights_put_back(self, model: nn.Module) -> None:
        """Ranks that a later step took away count again; without this they would not be saved."""
        tuner: Any = model.base_model
        tuner.peft_config[tuner.trainable_adapter_name].rank_pattern = _kept_ranks(model)


def _kept_ranks(model: nn.Module) -> dict[str, list[bool]]:
    """By layer, the ranks that are not taken away for good."""
    return {
        _inside(name): model.get_buffer(f"kept_{number}").tolist() for number, (name, _) in enumerate(_diagonals(model))
    }


def _ranked(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if any(factor in name for factor in ("lora_A.", "lora_B.", "lora_E."))
    ]


def _diagonals(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """What stands between the factors: a value for each rank."""
    return [(name, parameter) for name, parameter in _ranked(model) if "lora_E." in name]


def _inside(name: str) -> str:
    """What the model inside peft's wrappers calls a parameter, and the allocator with it."""
    return name.removeprefix("base_model.model.")
