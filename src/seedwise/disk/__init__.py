"""How bytes reach the disk, so that a crash damages at most the end of a file."""
