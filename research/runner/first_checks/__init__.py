"""What is refused before any library is imported."""
