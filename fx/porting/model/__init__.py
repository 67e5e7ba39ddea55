"""The expression that makes a model, part by part, and the values that its parts hold."""
