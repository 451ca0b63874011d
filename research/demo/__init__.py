"""A web page that classifies texts with a trained model, and shows which tokens the prediction depends on."""
