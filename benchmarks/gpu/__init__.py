"""What a GPU does with the product's own functions, and with variants that the product has not.

Invariants: torch, transformers, numpy and msgspec are enough, no Ray, no network; a variant is measured in turns with
what the product does, and enters the product when a record says that it wins a tenth or more; a figure that could not
be measured is absent, with the reason beside it.
"""
