"""What a program in Python calls; `import sdt` has all of it."""
