"""The cockpit: a Textual app that looks at the registry and asks the engine by commands."""
