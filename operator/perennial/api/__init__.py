"""The language of Perennial: its three kinds and the messages its parts exchange, as frozen data without I/O."""
