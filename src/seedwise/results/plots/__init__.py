"""Figures of results, drawn by matplotlib, which is imported when the first is drawn."""
