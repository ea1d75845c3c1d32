"""What the built-in trained translators have in common."""
