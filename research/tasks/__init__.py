"""What is predicted: one label, several labels, or numbers."""
