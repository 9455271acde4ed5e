"""A model as it is asked: loaded from its files, fed with typed columns. One code path for serving and for the gate."""
