"""Model soups: one model from the averaged weights of several."""
