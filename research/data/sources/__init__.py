"""Files and folders as they are found, and the rows in them."""
