"""What is known or can be told of the DNA of a section's units, beside what they express."""
