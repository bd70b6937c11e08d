"""What a torch model can tell of its own size, from its parameters and its configuration; and its memory on GPUs."""

from __future__ import annotations

import hashlib
import sys
from typing import Any

__all__ = ["facts_of", "forget_peak_gpu", "peak_gpu_mb"]

_VALUES = 256
"""So many values of each parameter are looked at, evenly spaced."""


def facts_of(lm: Any) -> dict[str, Any]:
    """Parameters, those active for a token, bytes, and a digest of what is loaded; empty where torch does not run it.

    Of a mixture of experts a token sees ``num_experts_per_tok`` experts of each layer (as the configurations of
    Mixtral, Qwen-MoE, OLMoE, DeepSeek and others call it); what is not such an expert counts whole.
    """
    torch, model = sys.modules.get("torch"), getattr(lm, "model", None)
    if torch is None or not isinstance(model, torch.nn.Module):
        return {}
    sizes = {name: each.numel() for name, each in model.named_parameters()}
    total = sum(sizes.values())
    experts = sum(size for name, size in sizes.items() if ".experts." in name)
    share = _share_of_experts(getattr(model, "config", None)) if experts else 1.0
    facts = {"params": total, "bytes": sum(each.numel() * each.element_size() for each in model.parameters())}
    facts |= {"sha256": _fingerprint(model)}
    return facts if share is None else facts | {"active_params": total - round(experts * (1 - share))}


def forget_peak_gpu() -> None:
    """Let `peak_gpu_mb` begin at what torch holds now."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)


def peak_gpu_mb() -> float | None:
    """The most memory that torch held on GPUs since `forget_peak_gpu`, in MiB; None where it uses none.

    Peaks of several GPUs are added up.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    peaks = [torch.cuda.max_memory_allocated(device) for device in range(torch.cuda.device_count())]
    return float(round(sum(peaks) / 2**20, 1))


def _fingerprint(model: Any) -> str:
    """SHA-256 over names, shapes and some values of each parameter: another training has another one."""
    digest = hashlib.sha256()
    for name, each in model.named_parameters():
        flat = each.detach().flatten()
        some = flat[:: max(1, flat.numel() // _VALUES)].float().cpu()
        digest.update(f"{name} {tuple(each.shape)} {each.dtype} {some.tolist()}".encode())
    return digest.hexdigest()


def _share_of_experts(config: Any) -> float | None:
    """How many of the experts a token sees, as a share; None where the configuration does not tell."""
    seen = getattr(config, "num_experts_per_tok", None)
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    whole = next((count for name in names if (count := getattr(config, name, None))), None)
    return float(seen / whole) if isinstance(seen, int) and isinstance(whole, int) and whole else None
