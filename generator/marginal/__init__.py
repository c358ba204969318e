"""The default family: noisy low-dimensional marginals and a graphical model over them."""
