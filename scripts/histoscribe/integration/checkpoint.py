"""The state of a training, kept so that a killed job goes on from where it was.

A safetensors file: tensors of the networks and of their optimisers, and a header of plain text.
"""

import json
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from histoscribe.storage import written_whole

LOG = logging.getLogger(__name__)


class Checkpoint:
    """State of `networks` and `optimisers` in a file, told from other trainings by an identity.

    Without a path nothing is kept. Networks' random numbers are drawn anew from the seed and the
    step's number, so they need no keeping.
    """

    def __init__(
        self,
        path: Path | None,
        networks: list[nn.Module],
        optimisers: list[torch.optim.Optimizer],
        identity: dict,
    ) -> None:
        self.path, self.networks, self.optimisers = path, networks, optimisers
        self.identity = json.dumps(identity, sort_keys=True)

    def store(self, step: int, history: list[dict]) -> None:
        if self.path is None:
            return
        tensors = {}
        for n, network in enumerate(self.networks):
            tensors |= {f"network.{n}.{k}": v.contiguous() for k, v in network.state_dict().items()}
        for n, optimiser in enumerate(self.optimisers):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{n}.{index}.{k}": torch.as_tensor(v).contiguous()
                            for k, v in state.items()}  # fmt: skip
        header = {"identity": self.identity, "step": str(step), "history": json.dumps(history)}
        with written_whole(self.path) as partial:
            save_file({k: v.detach().cpu().clone() for k, v in tensors.items()}, partial, header)

    def resume(self) -> tuple[int, list[dict]]:
        """Load what was stored: the last step done and the history; 0 and none without any."""
        if self.path is None or not self.path.is_file():
            return 0, []
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            LOG.warning("%s can't be read (%s); training starts anew", self.path, error)
            return 0, []
        if header.get("identity") != self.identity:
            LOG.info("%s is of another training, which starts anew", self.path)
            return 0, []
        for n, network in enumerate(self.networks):
            network.load_state_dict(_under(tensors, f"network.{n}."))
        for n, optimiser in enumerate(self.optimisers):
            state: dict[int, dict] = {}
            for name, value in _under(tensors, f"optimiser.{n}.").items():
                index, key = name.split(".", 1)
                state.setdefault(int(index), {})[key] = value
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": state, "param_groups": groups})
        LOG.info("training goes on after step %s", header["step"])
        return int(header["step"]), json.loads(header["history"])


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
