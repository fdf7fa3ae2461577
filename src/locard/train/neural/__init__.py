"""PyTorch recipes: one model at a time (the definition), or many in one program."""
