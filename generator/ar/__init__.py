"""`dp-ar`: a masked network predicts each column from the ones before it, trained by DP-SGD."""
