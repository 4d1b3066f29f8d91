"""Examines a network before it is trained, in seven steps, and says in words what is wrong."""
