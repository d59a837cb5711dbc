"""Typed records of what is stored and handed on."""
