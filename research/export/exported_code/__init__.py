"""Code of exported models. An export copies it into the folder, together with the head and everything that it uses."""
