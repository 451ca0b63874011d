"""From rows to prepared splits: columns, labels, cleaning, splits, and the cache."""
