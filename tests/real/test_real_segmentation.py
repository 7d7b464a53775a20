"""The segmenter that ships, on real H&E that it was not trained on."""

import pytest

from histoscribe.nuclei import SegmentationSettings, load_segmenter
from histoscribe.segmenter.evaluation import score_images
from histoscribe.segmenter.labelled_images import read_folder

pytestmark = pytest.mark.slow


def test_monuseg(real_data, repository):
    network = load_segmenter(repository / "resources/segmenters/histoscribe_he", 2)
    images = read_folder(real_data / "monuseg_test", 0.25)
    scores = score_images(network, images, SegmentationSettings()).set_index("image")
    print(scores.round(3))
    assert scores.loc["mean", "f1"] >= 0.7
