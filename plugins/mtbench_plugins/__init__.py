"""The built-in plugins, each registered through the entry-point group like any other plugin."""
