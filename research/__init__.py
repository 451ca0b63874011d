"""Fine-tune pretrained encoders with your own head, and change the run midway through an epoch.

Names are imported when they are first used (PEP 562), so that `--help` needs no torch.
"""
