"""What torch changes in place: tensors, buffers, arguments, attributes."""
