"""What the user sees: menu, wizard, display."""
