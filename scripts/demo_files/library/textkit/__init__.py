"""Small functions over text."""
