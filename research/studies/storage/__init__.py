"""The storage of a study: the database that holds its trials."""
