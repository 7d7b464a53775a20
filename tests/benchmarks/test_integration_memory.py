"""Integration: memory grows with the number of units, where likenesses of all pairs grow with its
square.

A process of its own integrates simulated bins of two sections for a few steps, describes them all
and finds their domains, and says its peak resident memory above that of its imports. The dense
formulation is one cosine matrix of latents and one of features, with their gradient.
"""

import json
import subprocess
import sys

import numpy as np

N_UNITS = (10_000, 50_000, 200_000)
N_DENSE = (2_000, 4_000, 8_000)
START = """
import json, resource, sys
import numpy as np, pandas as pd, torch
from scipy import sparse
from histoscribe.integration.domains import DomainSettings, find_domains
from histoscribe.integration.ensemble import integrate
from histoscribe.integration.sections import Section
from histoscribe.integration.spatial_factors import fit_factors
from histoscribe.integration.together import gather
from histoscribe.integration.training import TrainingSettings

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

n_units = int(sys.argv[1])
start_mb = peak_mb()
"""
SPARSE = """
rng = np.random.default_rng(0)
sections = []
for name in ("one", "other"):
    n = n_units // 2
    edge = int(np.ceil(np.sqrt(n)))
    xy_um = 8.0 * np.stack(np.meshgrid(np.arange(edge), np.arange(edge)), -1).reshape(-1, 2)[:n]
    counts = sparse.random(n, 1000, 0.03, format="csr", dtype=np.float32, random_state=rng)
    counts.data = np.ceil(3 * counts.data)
    genes = pd.Index([f"G{i}" for i in range(1000)])
    sections.append(Section(name, counts, genes, pd.RangeIndex(n).astype(str), xy_um, False, "bin"))
together = gather(sections, list(sections[0].genes), {"bin": 10}, None)
settings = TrainingSettings(encoder="convolution", n_steps=10)
made = integrate(together, settings, 0, threads=2)
fit_factors(together, made.latent, settings.n_factors, settings.evenness_weight, 0)
find_domains(made.latent, DomainSettings(n_domains=8), 0)
"""
DENSE = """
latent = torch.randn(n_units, 32, requires_grad=True)
features = torch.nn.functional.normalize(torch.randn(n_units, 100))
z = torch.nn.functional.normalize(latent)
((z @ z.T - features @ features.T) ** 2).mean().backward()
"""
SAY = "print(json.dumps(peak_mb() - start_mb))"


def peak_mb(code, n_units):
    finished = subprocess.run(
        [sys.executable, "-c", START + code + SAY, str(n_units)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "scripts", "OMP_NUM_THREADS": "2"},
    )
    return json.loads(finished.stdout.splitlines()[-1])


def test_memory_grows_linearly_with_units():
    print()
    found = {}
    for words, code, sizes in (("integration", SPARSE, N_UNITS), ("all pairs", DENSE, N_DENSE)):
        peaks = [peak_mb(code, n) for n in sizes]
        found[words] = np.polyfit(np.log(sizes), np.log(peaks), 1)[0]
        for n, peak in zip(sizes, peaks, strict=True):
            print(f"{words}: {n:,} units, {peak:,.0f} MB")
        print(f"{words}: memory grows as units to the power of {found[words]:.2f}")
    assert found["integration"] < 1.1
    assert found["all pairs"] > 1.5
