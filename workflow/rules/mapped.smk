"""What each morphology-gene map of the config is made of."""

from histoscribe.morphology_map.entries import LABELS, TYPES, check_maps, map_entries

NAMED = ("morphology", "nuclei")  # kinds of encoders whose features have names
MAPS = map_entries(config, data_folder(config))
try:
    check_maps(
        MAPS,
        RUN,
        ENCODERS,
        {sample for source, sample in annotated() if source == MEASURED},
        {
            sample
            for source, sample in sources()
            if source == MEASURED and config["programs"]["sets"]
        },
    )
except UserError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    map="|".join(map(re.escape, MAPS)) or "none",


def map_inputs(wildcards):
    """Units, features and answers of a map, and the scores of the first experiment, if any."""
    entry = MAPS[wildcards.map]
    if entry.sample is None:
        return {"units": str(entry.file)}
    sample = entry.sample
    files = {
        "units": f"<results>/sections/{sample}/units.h5ad",
        "features": f"<results>/features/{entry.encoder}/{sample}.h5ad",
        "answers": answers_file(entry),
    }
    scored = next((key for key in pairs() if key[2] == sample), None)
    if scored is not None:
        experiment, fold, _ = scored
        files["scores"] = f"<results>/{experiment}/{fold}/evaluated/{sample}.tsv"
    return files


def pictured_image(wildcards):
    """The image of which a figure shows tiles; a file has none."""
    sample = MAPS[wildcards.map].sample
    return {} if sample is None else {"image": f"<results>/sections/{sample}/image.ome.tif"}


def answers_file(entry):
    """The file that answers a map's question: labels, cell types, or scores of programs."""
    if entry.question == LABELS:
        return source_file(RUN.sections[entry.sample].labels)
    if entry.question == TYPES:
        return f"<results>/annotated/{MEASURED}/{entry.sample}.h5ad"
    return f"<results>/programs/{MEASURED}/{entry.sample}.scores.parquet"


def map_entry(wildcards):
    """The facts of a map, as plain values."""
    entry = MAPS[wildcards.map]
    return {
        "name": entry.name,
        "where": entry.where,
        "question": entry.question,
        "sample": entry.sample,
        "features": list(entry.features),
        "labels": given_labels(entry),
        "is_named": entry.sample is None or ENCODERS[entry.encoder]["kind"] in NAMED,
    }


def given_labels(entry):
    """The file of a map's labels, which may be of a data set that is retrieved."""
    is_asked = entry.sample is not None and entry.question == LABELS
    return str(RUN.sections[entry.sample].labels) if is_asked else None


def map_settings(wildcards):
    """The config's settings of maps, with what a map has of its own."""
    own = config["morphology_maps"][wildcards.map].get("settings") or {}
    return merge(config["morphology_map"], own)


def seen_um(wildcards):
    """How wide a map's encoder sees."""
    return encoder_reach_um(MAPS[wildcards.map])


def encoder_reach_um(entry):
    """How wide an encoder sees around a unit: the buffer between blocks; 0 for a file's features."""
    if entry.sample is None:
        return 0.0
    encoder = ENCODERS[entry.encoder]
    widths = [encoder.get("tile_um", config["features"]["tile_um"])]
    return float(max(*widths, 2 * encoder.get("radius_um", 0)))


def mapped_samples():
    """The first map of each tested section, by sample."""
    tested = dict.fromkeys(sample for _, _, sample in pairs())
    first = {}
    for name, entry in MAPS.items():
        if entry.sample in tested:
            first.setdefault(entry.sample, name)
    return first


def morphology_map_files():
    return [
        f"<results>/morphology_maps/{name}/{table}.tsv"
        for name in MAPS
        for table in ("features", "gains", "genes")
    ]


def morphology_map_figures():
    return [
        f"<results>/figures/morphology_maps/{name}.{ending}" for name in MAPS for ending in ENDINGS
    ]
