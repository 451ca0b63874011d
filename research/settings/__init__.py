"""What a user may write: settings, their types, times, forks, plugins, and the command line."""
