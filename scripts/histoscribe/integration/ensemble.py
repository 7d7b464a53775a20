"""Integration by several networks, each with a seed of its own, and what they agree on.

One network's latent space hangs on the batches and the noise that it saw. Several are trained alike
on others, and the mean of their latent spaces, turned onto each other, is kept: what they share
adds up, and what each has made up on its own does not. What still sets sections apart is taken
out of it cluster by cluster (soft_clusters).
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.linalg import orthogonal_procrustes

from histoscribe import torch_setup
from histoscribe.integration.checkpoint import Checkpoint
from histoscribe.integration.soft_clusters import mix_sections
from histoscribe.integration.together import Together
from histoscribe.integration.training import Trainer, TrainingSettings
from histoscribe.source_code import files_digest, imported_files

LOG = logging.getLogger(__name__)
AFTER_TRAINING = ("mixing_rounds", "mixing_penalty")  # settings that networks don't hang on
LEAST_SPREAD = 1e-6
N_TURNS = 3


@dataclass(frozen=True)
class Integrated:
    """`latent` space of all units, (n_units, width) float32; `history`, the loss's terms a step."""

    latent: np.ndarray
    history: pd.DataFrame


def integrate(
    together: Together,
    settings: TrainingSettings,
    seed: int,
    threads: int,
    kept_in: Path | None = None,
) -> Integrated:
    """Train `settings.n_networks` on sections together, each for a fixed number of steps.

    Where the folder `kept_in` has files left over from training of the same units with the same
    settings and code, it goes on from there; the caller removes them (checkpoints_in) once the
    results are written. Deterministic for a seed and a number of threads.
    """
    torch_setup.set_threads(threads)
    trained_with = {k: v for k, v in asdict(settings).items() if k not in AFTER_TRAINING}
    identity = {
        "units": together.digest(), "settings": trained_with,
        "code": files_digest(imported_files(Path(__file__))),
    }  # fmt: skip
    offset = together.offsets(seed)
    latents, histories = [], []
    for number in range(settings.n_networks):
        own_seed = seed * settings.n_networks + number
        trainer = Trainer(together, offset, settings, own_seed)
        path = None if kept_in is None else kept_in / f"network_{number + 1}.safetensors"
        optimisers = [trainer.optimiser, trainer.opponent]
        networks = [trainer.network, trainer.factors, trainer.discriminators]
        kept = Checkpoint(path, networks, optimisers, identity | {"seed": own_seed})
        LOG.info("network %d of %d", number + 1, settings.n_networks)
        history = trainer.train(kept)
        latents.append(trainer.latent())
        histories.append(pd.DataFrame(history).assign(network=number + 1))
        del trainer, kept, networks, optimisers  # before the next takes as much memory
    latent = mix_sections(
        consensus(latents), together.section, settings.mixing_rounds, settings.mixing_penalty, seed
    )
    return Integrated(latent, pd.concat(histories, ignore_index=True))


def consensus(latents: list[np.ndarray]) -> np.ndarray:
    """The mean of latent spaces turned onto each other, (n_units, width) float32.

    Each (n_units, width), in units of its usual spread: 1 is by how much units differ in a
    dimension, root mean square over dimensions. Generalised Procrustes analysis (Gower,
    Psychometrika 1975), scale left out: turned onto the first, and then onto their mean.
    """
    spaces = [latent - latent.mean(axis=0) for latent in latents]
    spaces = [space / _usual_spread(space) for space in spaces]
    mean = spaces[0]
    for _ in range(N_TURNS):
        mean = np.mean([s @ orthogonal_procrustes(s, mean)[0] for s in spaces], axis=0)
    return (mean / _usual_spread(mean)).astype(np.float32)


def checkpoints_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("network_*.safetensors"))


def _usual_spread(latent: np.ndarray) -> float:
    return float(np.sqrt(latent.var(axis=0).mean())) + LEAST_SPREAD
