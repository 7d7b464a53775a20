"""The shipped segmenter's making: labelled images, composition, augmentation, training, scores."""

from dataclasses import fields

import geopandas as gpd
import numpy as np
import pytest
import shapely
import yaml
from PIL import Image
from skimage.measure import label as connected_parts

from histoscribe.errors import UserError
from histoscribe.segmenter.augmentation import AugmentationSettings, Augmenter, restain
from histoscribe.segmenter.composition import CompositionSettings, compose, cut_nuclei
from histoscribe.segmenter.labelled_images import (
    LabelledImage,
    draw_labels,
    read_folder,
    to_nuclear_area,
    without_debris,
)
from histoscribe.segmenter.training import TrainingSettings, prepare_images


def spotted(side=200, radius=8, step=40, name="spots"):
    """Purple discs on pink: an image with labels."""
    row, column = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.int32)
    number = 0
    for y in range(step // 2, side, step):
        for x in range(step // 2, side, step):
            number += 1
            labels[np.hypot(row - y, column - x) < radius] = number
    pixels = np.full((side, side, 3), (225, 170, 200), np.uint8)
    pixels[labels > 0] = (90, 50, 140)
    return LabelledImage(name, pixels, labels, 0.5)


def test_labels_are_drawn_where_outlines_lie():
    outlines = shapely.box([1.0, 6.0], [2.0, 6.0], [3.0, 9.0], [5.0, 8.0])
    labels = draw_labels(gpd.GeoDataFrame(geometry=outlines), 0.5, (20, 20))
    expected = np.zeros((20, 20), np.int32)
    expected[4:10, 2:6] = 1
    expected[12:16, 12:18] = 2
    np.testing.assert_array_equal(labels, expected)


def test_a_folder_gives_images_with_labels(tmp_path):
    image = spotted(60)
    Image.fromarray(image.pixels).save(tmp_path / "a.png")
    Image.fromarray(image.labels.astype(np.uint16)).save(tmp_path / "a_label.png")
    (found,) = read_folder(tmp_path, 0.25)
    np.testing.assert_array_equal(found.pixels, image.pixels)
    np.testing.assert_array_equal(found.labels, image.labels)
    assert found.um_per_px == 0.25
    Image.fromarray(image.labels[:50].astype(np.uint16)).save(tmp_path / "a_label.png")
    with pytest.raises(UserError, match=r"60 x 50 px.*60 x 60 px"):
        read_folder(tmp_path, 0.25)
    Image.fromarray(image.pixels).save(tmp_path / "a_label.png")
    with pytest.raises(UserError, match="pixels of 3 values; expected one number a pixel"):
        read_folder(tmp_path, 0.25)
    with pytest.raises(UserError, match="no labelled image"):
        read_folder(tmp_path / "nowhere", 0.25)


def test_nuclei_are_scaled_to_an_area():
    image = to_nuclear_area(spotted(), 50.0)
    area = np.bincount(image.labels.ravel())[1:]
    assert np.median(area) == pytest.approx(50, rel=0.1)
    assert len(area) == spotted().labels.max()


def test_debris_is_dropped_and_labels_are_parted():
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8] = 5
    labels[10:16, 10:16] = 5  # the same number again
    labels[0, 19] = 7
    kept = without_debris(labels, 4)
    assert sorted(np.unique(kept)) == [0, 1, 2]
    assert kept[0, 19] == 0


def test_augmentation_keeps_labels_on_their_nuclei():
    image = spotted()
    augmenter = Augmenter(3)
    for _ in range(8):
        pixels, labels = augmenter(image.pixels.astype(np.float32), image.labels)
        assert pixels.dtype == np.float32
        assert np.isfinite(pixels).all()
        assert pixels[labels > 0].mean() < pixels[labels == 0].mean() - 0.2
        assert np.bincount(labels.ravel()).tolist() == np.bincount(image.labels.ravel()).tolist()


def test_augmentation_follows_its_seed_and_changes_colour():
    image = spotted()
    first = Augmenter(1)(image.pixels.astype(np.float32), image.labels)[0]
    again = Augmenter(1)(image.pixels.astype(np.float32), image.labels)[0]
    other = Augmenter(2)(image.pixels.astype(np.float32), image.labels)[0]
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.02


def test_restaining_without_change_gives_the_image_back():
    image = spotted()
    still = AugmentationSettings(
        hematoxylin=(1, 1), eosin=(1, 1), vector_sd=0.0, background_eosin=(0, 0)
    )

    class Middle(np.random.Generator):
        """Draws that change nothing: the middle of a range, no noise."""

        def uniform(self, low=0.0, high=1.0, size=None):
            return {(0.3, 1.3): 1.0, (225, 255): 255.0}.get((low, high), (low + high) / 2)

        def normal(self, loc=0.0, scale=1.0, size=None):
            return np.zeros(size if size is not None else ())

    rng = Middle(np.random.PCG64(0))
    restained = restain(rng, image.pixels.astype(np.float32), image.labels, still)
    np.testing.assert_allclose(restained, image.pixels, atol=1.0)


def test_composed_images_are_dense_and_labelled():
    cutouts = cut_nuclei([spotted(), spotted(radius=10)], 120.0)
    # Those at the edge are left out, so all cut nuclei are whole.
    assert len(cutouts) == 50
    for cutout in cutouts:
        assert cutout.chromatin[cutout.mask].mean() == pytest.approx(1, abs=1e-3)
    rng = np.random.default_rng(0)
    settings = CompositionSettings(size_px=160, coverage=(0.4, 0.4), gaps=(0.0, 0.0))
    image = compose(rng, cutouts, settings, "x")
    assert image.pixels.shape == (160, 160, 3)
    assert (image.labels > 0).mean() > 0.3
    inside = image.pixels[image.labels > 0].astype(float).mean()
    assert inside < image.pixels[image.labels == 0].astype(float).mean() - 15
    # A label may be cut by a later nucleus, but hardly ever into pieces.
    assert connected_parts(image.labels).max() < 1.2 * len(np.unique(image.labels))


def test_gaps_hold_no_nuclei():
    cutouts = cut_nuclei([spotted()], 120.0)
    settings = CompositionSettings(size_px=160, coverage=(0.4, 0.4), gaps=(0.3, 0.3))
    image = compose(np.random.default_rng(1), cutouts, settings, "x")
    white = (image.pixels > 235).all(axis=2)
    assert white.mean() > 0.1
    assert (image.labels[white] > 0).mean() < 0.02


@pytest.mark.parametrize(("n_simulated", "n_stained"), [(1, 3), (3, 1)])
def test_one_image_cannot_both_train_and_validate(n_simulated, n_stained):
    images = [spotted(name=str(i)) for i in range(3)]
    with pytest.raises(UserError, match="found 1; expected two or more"):
        prepare_images(images[:n_simulated], images[:n_stained], TrainingSettings())


def test_the_schema_names_every_training_setting(repository):
    schema = yaml.safe_load((repository / "workflow/schemas/config.schema.yaml").read_text())
    named = schema["properties"]["segmenter"]["properties"]["training"]
    assert set(named["propertyNames"]["enum"]) == {field.name for field in fields(TrainingSettings)}


def test_held_out_images_stay_out_of_training():
    """An image that validates gives training neither itself nor a nucleus."""
    colours = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5}
    stained = [spotted(name=name) for name in colours]
    for image, shade in zip(stained, colours.values(), strict=True):
        image.pixels[image.labels == 0] = 200 + shade
    simulated = [spotted(300, name=f"s{i}") for i in range(4)]
    settings = TrainingSettings(n_compositions=3, held_out_share=0.3, patch_px=96)
    training, validation = prepare_images(simulated, stained, settings)
    grounds = [
        {int(p[0, 0, 0]) for p in side.pixels if p[0, 0, 0] in range(200, 206)}
        for side in (training, validation)
    ]
    assert grounds[1]
    assert not grounds[0] & grounds[1]
    assert all(min(p.shape[:2]) >= 96 for p in training.pixels)
