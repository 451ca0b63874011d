"""What tests build: files that are good, files that are not, and places in which commands run."""
