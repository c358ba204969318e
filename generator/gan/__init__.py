"""`dp-ctgan`: a GAN whose discriminator alone sees private rows, under DP-SGD; `ctgan`: the wrapped package."""
