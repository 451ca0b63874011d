"""Search of a space of settings with Optuna's samplers, instead of a grid."""
