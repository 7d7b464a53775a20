"""Adjacent sections of one block brought into one frame by their latent space, for 3D stacking."""
