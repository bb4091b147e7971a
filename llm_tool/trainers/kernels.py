"""Faster ways to compute on a CPU what a model asks torch for, whatever its architecture.

While ``Kernels`` is entered, three functions of torch are answered by others, which compute the
same up to rounding and other random numbers. The model stays as it is, and so does what is saved.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_LANES = 4  # random numbers of 16 bits in one of 64
_LEVELS = 2**16
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h


class Kernels(TorchFunctionMode):
    """Answers dropout, linear layers and attention; leaves all else to torch."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401 - torch's own signature
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Compute what a function of torch is asked for."""
        answer: Callable[..., Any] = _OWN.get(func, func)
        return answer(*args, **(kwargs or {}))


def dropout(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """Do what ``torch.nn.functional.dropout`` does, with four random numbers from one draw.

    Numbers of 16 bits make ``p`` exact to 1/65,536; the scale is that of the rounded ``p``.
    """
    dropped = round(p * _LEVELS)
    if not training or not 0 < dropped < _LEVELS or input.device.type != "cpu":
        return functional.dropout(input, p, training, inplace)
    apply: Callable[..., torch.Tensor] = _Dropout.apply
    return apply(input, dropped)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, dropped: int) -> torch.Tensor:  # noqa: ANN401
        """Return values of which so many in 65,536 are zero, the others scaled up."""
        drawn = torch.empty(-(-values.numel() // _LANES), dtype=torch.int64).random_(-(2**63), None)
        lanes = drawn.view(torch.int16)[: values.numel()].view(values.shape)
        kept = lanes >= dropped - _LEVELS // 2
        ctx.save_for_backward(kept)
        ctx.scale = _LEVELS / (_LEVELS - dropped)
        result: torch.Tensor = torch.ops.aten.native_dropout_backward(values, kept, ctx.scale)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        """Return the gradient of the values that were kept."""
        (kept,) = ctx.saved_tensors
        return torch.ops.aten.native_dropout_backward(gradients[0], kept, ctx.scale), None


def linear(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Do what ``torch.nn.functional.linear`` does, in float32 with oneDNN where that is faster.

    Eager torch multiplies float32 matrices with MKL, which takes half of the vector units of
    processors that are not its maker's.
    """
    ours = input.dtype == weight.dtype == torch.float32 and input.device.type == "cpu"
    if not ours or torch.is_autocast_enabled("cpu") or not _onednn_is_faster():
        return functional.linear(input, weight, bias)
    apply: Callable[..., torch.Tensor] = _Linear.apply
    return apply(input, weight, bias)


@cache
def _onednn_is_faster() -> bool:
    """Tell it by what the processor is: a measurement would let the numbers depend on chance."""
    return torch.backends.mkldnn.is_available() and (
        torch.backends.cpu.get_cpu_capability() == "AVX512"
    )


def _product(
    values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        values: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return values times the weight's transpose, plus the bias."""
        ctx.save_for_backward(values, weight)
        return _product(values, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        """Return the gradients of what is asked for."""
        values, weight = ctx.saved_tensors
        needed, own = ctx.needs_input_grad, gradients[0]
        rows = own.flatten(0, -2)
        return (
            _product(own, weight.t()) if needed[0] else None,
            _product(rows.t(), values.flatten(0, -2).t()) if needed[1] else None,
            rows.sum(0) if needed[2] else None,
        )


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001 - see below
    is_causal: bool = False,
    scale: float | None = None,
    **more: Any,  # noqa: ANN401
) -> torch.Tensor:
    """Do what ``scaled_dot_product_attention`` does, without dropout of the attention weights.

    That dropout keeps torch from its fused kernel on CPUs; it is left out on all devices, so that a
    model is regularised alike everywhere. In bfloat16 on a CPU the backward pass of the fused
    kernel takes several times as long as plain products.
    """
    plain = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    if not plain or is_causal or more:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, **more
        )
    with torch.autocast("cpu", enabled=False):  # it would compute the softmax in float32
        scores = (query * (scale or query.shape[-1] ** -0.5)) @ key.transpose(-1, -2)
        if attn_mask is not None:
            scores = scores + _bias(attn_mask, scores.dtype)
        return scores.softmax(-1) @ value


def _bias(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a mask as what is added to scores."""
    if mask.dtype != torch.bool:
        return mask
    # Not infinite: a row in which all is masked, of padding in a window, would not be a number.
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)


_OWN: dict[Any, Callable[..., torch.Tensor]] = {
    functional.dropout: dropout,
    functional.linear: linear,
    functional.scaled_dot_product_attention: attention,
}


def keep_memory() -> None:
    """Keep freed memory for the next piece, in place of giving it back to the system each time.

    Large tensors are otherwise mapped, and zeroed page by page, for every operation. Only glibc has
    these settings.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def release_memory() -> None:
    """Give back to the system, and to the GPU, what is not in use any more."""
    gc.collect()  # a model is large, and its graph holds cycles
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
