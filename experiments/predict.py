"""Predict the labels of a file with a trained model: python experiments/predict.py RUN --data FILE --output FILE."""

import sys

from research.inference.predict_command import main

if __name__ == "__main__":
    sys.exit(main())
