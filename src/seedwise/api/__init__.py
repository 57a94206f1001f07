"""The functions that users call: they put the parts together and decide nothing themselves."""
