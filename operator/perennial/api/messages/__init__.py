"""What the programs say to each other: each message is declared once, and both sides import it.

`Asked`: a wish, whose unknown fields are refused, because it must not be half fulfilled. `Wire`: a report, of which a
reader passes over what it does not know.
"""
