"""Set image features beside genes and a question: which tell it, and which the genes tell."""

from pathlib import Path

import pandas as pd
from threadpoolctl import threadpool_limits

from histoscribe.annotation.labels import read_labels
from histoscribe.errors import UserError, problem
from histoscribe.features.files import named_features
from histoscribe.integration.sections import read_section
from histoscribe.joblog import job_log
from histoscribe.morphology_map.extremes import FEATURE, most_extreme, shown_features
from histoscribe.morphology_map.gains import Answers, answer, gain_table
from histoscribe.morphology_map.genes import read_gene_list, relate_genes
from histoscribe.morphology_map.information import blocked_parts
from histoscribe.morphology_map.inputs import Asked, ask, components_of_features, own_features
from histoscribe.morphology_map.quadrants import MapSettings, relate
from histoscribe.provenance import recall
from histoscribe.storage import read_h5ad, written_whole
from histoscribe.tables import read_table


def read_asked(
    entry: dict,
    files: dict[str, Path],
    target_sum: float | str,
    max_units: int,
    seed: int,
) -> Asked:
    """Units, features and answers of a map, from the files that it names."""
    where, question = entry["where"], entry["question"]
    units = read_h5ad(files["units"], ())
    if entry["sample"] is None:
        read_section(entry["name"], files["units"], False)  # checks counts, names and places
        if question not in units.obs:
            expected = "a column of obs: " + ", ".join(units.obs.columns[:12])
            raise UserError(problem(f"{where}/question", question, expected, "Correct it."))
        features = own_features(units, entry["features"], f"{where}/features")
        features = features.drop(columns=question, errors="ignore")
        given = units.obs[question]
    else:
        features = named_features(files["features"])
        # Labels of a retrieved data set stand in `entry`; the input is what makes them.
        given = answers_of(question, Path(entry["labels"] or files["answers"]), units, where)
    if not entry["is_named"]:
        features = components_of_features(features, seed)
    return ask(units, features, question, given, target_sum, max_units, seed, where)


def answers_of(question: str, path: Path, units, where: str) -> pd.Series:
    """The answer of each unit, from labels, cell types or scores of programs."""
    if question == "labels":
        facts = recall(units.uns)
        return read_labels(path, units, facts["unit_size_um"], facts["um_per_px"])
    if question == "types":
        return read_h5ad(path).obs["type"].astype(object)
    scores = pd.read_parquet(path)
    name = question.partition(":")[2]
    if name not in scores:
        expected = "a program that was scored: " + ", ".join(scores.columns[2:14])
        raise UserError(problem(f"{where}/question", name, expected, "Correct it."))
    return scores[name]


def units_table(asked: Asked, features: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """A row a unit: its place, the answer, the answer from each set, and the features shown."""
    table = pd.DataFrame(asked.xy_um, columns=["x_um", "y_um"])
    table.insert(0, "unit", asked.features.index)
    table["answer"] = asked.question.value
    for name in answers.found:
        table[f"from {name}"] = answers.in_words(name)
    shown = most_extreme(shown_features(features))
    values = asked.features[list(shown.values())].reset_index(drop=True)
    return table.join(values.add_prefix(FEATURE))


def main(
    entry: dict,
    files: dict[str, Path],
    settings: dict,
    buffer_um: float,
    target_sum: float | str,
    housekeeping: Path,
    seed: int,
    outputs: dict[str, Path],
) -> None:
    settings = dict(settings)
    max_units, block_um = settings.pop("max_units"), settings.pop("block_um")
    given = settings.pop("buffer_um")
    buffer_um = buffer_um if given is None else given
    asked = read_asked(entry, files, target_sum, max_units, seed)
    block_um = asked.block_um(block_um, buffer_um)
    settings = MapSettings(**settings, block_um=block_um, buffer_um=buffer_um)
    parts = blocked_parts(asked.xy_um, block_um, buffer_um, settings.n_folds, seed)
    if len(parts) < 2:
        raise UserError(
            problem(
                entry["where"],
                f"{len(parts)} of {settings.n_folds} folds in blocks of {block_um:.4g} um with a "
                f"buffer of {buffer_um:.4g} um",
                "two or more that leave units to learn from",
                "Lower morphology_map.block_um or buffer_um.",
            )
        )
    expression = asked.expression(settings.n_components, seed)
    told = asked.features, expression, asked.question, asked.xy_um, parts, settings, seed
    features = relate(*told)
    answers = answer(*told)
    gains = gain_table(answers, asked.xy_um, block_um, seed)
    scores = read_table(files["scores"]) if "scores" in files else pd.DataFrame({"gene": []})
    units = units_table(asked, features, answers)
    genes = relate_genes(asked, scores, read_gene_list(housekeeping), parts, settings, seed)
    tables = {"features": features, "gains": gains, "genes": genes, "units": units}
    for name, table in tables.items():
        with written_whole(outputs[name]) as partial:
            table.to_csv(partial, sep="\t", index=False, float_format="%.6g")


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]), threadpool_limits(snakemake.threads):
        names = ("units", "features", "answers", "scores")
        main(
            entry=snakemake.params.entry,
            files={name: Path(path) for name in names if (path := snakemake.input.get(name))},
            settings=snakemake.params.settings,
            buffer_um=snakemake.params.buffer_um,
            target_sum=snakemake.params.target_sum,
            housekeeping=Path(snakemake.input.housekeeping),
            seed=snakemake.params.seed,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
        )
