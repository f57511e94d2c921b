"""What the contract's fields do: one module per capability, a SQLAlchemy session in, plain results out.

Resolvers never commit and never open a session; :mod:`parsegate.schema.context` does, once per operation.
"""
