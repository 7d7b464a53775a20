"""How the shipped segmenter was made: training images, augmentation, training, evaluation.

Only the rules `train_segmenter` and `evaluate_segmenter` use it; `histoscribe.nuclei` applies any
StarDist model, the shipped one included.
"""
