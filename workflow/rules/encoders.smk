"""Which files an encoder loads, and where the features that it gives are."""


def encoder_weights(wildcards):
    """The file or folder an encoder loads, so that it is there before the job starts."""
    weights = weights_of(wildcards.encoder)
    return {"weights": weights} if weights else {}


def weights_of(name):
    """The weights of the encoder of that name; None for those that come with the environment."""
    encoder = ENCODERS[name]
    retrieved = f"resources/retrieved/encoders/{name}"
    return {"checkpoint": encoder.get("file"), "timm": retrieved}.get(encoder["kind"])


def is_network(wildcards):
    return ENCODERS[wildcards.encoder]["kind"] in ("imagenet", "timm", "checkpoint")


def adapted_file(encoder):
    """The file that holds an adapted encoder: its own, or the model that was given."""
    return config["bundle"] or f"<results>/features/{encoder}/{{fold}}/encoder.safetensors"


def adapted_files(wildcards):
    """The adapted encoders of an experiment."""
    return [adapted_file(name) for name in adapted_encoders(wildcards)]


def adapted_encoders(wildcards):
    return [name for name in experiment_of(wildcards).features.encoders if name in ADAPTED]


def features_file(encoder, sample):
    """Features of a section; those of an adapted encoder depend on what it was trained on."""
    folder = f"{encoder}/{{fold}}" if encoder in ADAPTED else encoder
    return f"<results>/features/{folder}/{sample}.h5ad"


def features_files(*samples):
    """Input function: features of samples, and of each by every encoder of the experiment."""
    return lambda wildcards: [
        features_file(encoder, sample)
        for sample in samples
        for encoder in experiment_of(wildcards).features.encoders
    ]


def adapted_in_use():
    """The adapted encoders of any experiment."""
    used = (name for e in RUN.experiments.values() for name in e.features.encoders)
    return [name for name in dict.fromkeys(used) if name in ADAPTED]


def base_of(wildcards):
    """The pretrained encoder that an adapted one starts from, by name; None for our own network."""
    start = ENCODERS[wildcards.encoder]["start"]
    return None if start in OWN_STARTS else start


def base_weights(wildcards):
    """The weights of that encoder."""
    name = base_of(wildcards)
    return {"base": weights_of(name)} if name else {}


def base_params(wildcards):
    """What else there is to know of it, as plain values."""
    name = base_of(wildcards)
    if name is None:
        return None
    encoder = ENCODERS[name]
    return {
        "kind": encoder["kind"],
        "name": encoder.get("name", name),
        "architecture": encoder.get("architecture"),
        "tile_um": encoder.get("tile_um", config["features"]["tile_um"]),
    }
