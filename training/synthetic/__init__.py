"""Painted field scenes with labels: data for the demo and the tests, from nothing but a seed."""
