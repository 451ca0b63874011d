"""The folder that soup.py writes: model/, predictions/ and soup.json."""

SOUP_RECORD = "soup.json"
"""The ingredients and the metrics. It marks a folder as a soup."""
