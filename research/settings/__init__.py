"""Settings, their types, times, forks, plugins, and the command line: everything that a user may write."""
