"""Whether both compute the same: outputs, gradients, what training changes."""
