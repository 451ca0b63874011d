"""Read, prepare and batch the data of a run."""
