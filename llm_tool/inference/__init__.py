"""Predict with saved models: a table in, the same table with labels out."""
