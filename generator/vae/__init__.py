"""`dp-tvae`: a tabular variational autoencoder under DP-SGD; `tvae`: the wrapped package."""
