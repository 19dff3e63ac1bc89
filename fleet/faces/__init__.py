"""What people see: rows and lines made of state. Pure rendering."""
