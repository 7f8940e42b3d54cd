"""Placement: which peer lives on which host (a pure plan), and starting the actors that it asks for."""
