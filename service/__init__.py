"""The application: command line, configuration, planner and runner."""
